{{/* What the pods of all roles share. */}}
{{- define "relevo.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- /* Kubernetes counts the drain into the grace period. */}}
{{- if gt (add (int .Values.drainSeconds) 35) (int .Values.terminationGracePeriodSeconds) }}
{{- fail (printf "terminationGracePeriodSeconds must be at least %d: drainSeconds and 35 for the process itself" (add (int .Values.drainSeconds) 35)) }}
{{- end }}
terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
securityContext:
  runAsNonRoot: true
  runAsUser: 1000
  runAsGroup: 1000
  fsGroup: 1000
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- if .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml .Values.imagePullSecrets | nindent 2 }}
{{- end }}
{{- if .Values.nodeSelector }}
nodeSelector:
  {{- toYaml .Values.nodeSelector | nindent 2 }}
{{- end }}
{{- if .Values.tolerations }}
tolerations:
  {{- toYaml .Values.tolerations | nindent 2 }}
{{- end }}
{{- end }}

{{/* Processes read the Secret when they start: new values restart them, one at a time. */}}
{{- define "relevo.annotations" -}}
relevo/secrets: {{ printf "%s%s" .Values.secrets.existing (toYaml .Values.secrets.values) | sha256sum | quote }}
{{- if .Values.podAnnotations }}
{{ toYaml .Values.podAnnotations }}
{{- end }}
{{- end }}

{{- define "relevo.container" -}}
image: {{ include "relevo.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
envFrom:
  - secretRef:
      name: {{ include "relevo.secret" . | quote }}
{{- end }}

{{- define "relevo.settings" -}}
- name: PUBLIC_URL
  value: {{ required "publicUrl is missing" .Values.publicUrl | quote }}
{{- range $name, $value := .Values.settings }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{/* A relay that sheds load refuses connections for a moment, probes too: only one that goes on refusing is sick. */}}
{{- define "relevo.probes" -}}
ports:
  - name: http
    containerPort: 8080
startupProbe:
  httpGet: { path: /livez, port: http }
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet: { path: /livez, port: http }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 9
readinessProbe:
  httpGet: { path: /readyz, port: http }
  periodSeconds: 5
  timeoutSeconds: 2
  failureThreshold: 6
lifecycle:
  preStop:
    exec:
      command: [sleep, {{ .Values.drainSeconds | quote }}]
{{- end }}
