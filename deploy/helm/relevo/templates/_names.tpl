{{/* Kept to if, range, define, include, required, default, printf, fail, add, int, gt, quote, toYaml, sha256sum and nindent: test/support/chart.ts renders no more. */}}
{{- define "relevo.labels" -}}
app.kubernetes.io/name: relevo
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "relevo.secret" -}}
{{ default (printf "%s-secrets" .Release.Name) .Values.secrets.existing }}
{{- end }}

{{- define "relevo.image" -}}
{{ printf "%s:%s" (required "image.repository is missing" .Values.image.repository) (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
