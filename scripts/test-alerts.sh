#!/usr/bin/env bash
# Checks and tests the alert rules with promtool. In CI, Debian's package is installed where that can be done; elsewhere a machine without
# promtool skips this, and says so.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../deploy/prometheus"

if ! command -v promtool >/dev/null && [[ ${CI:-} == true && $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
  # The package brings a service along, which must not run: 101 is policy-rc.d's word for "no".
  if [[ ! -e /usr/sbin/policy-rc.d ]]; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
  fi
  apt-get update -qq >/dev/null || true
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus >/dev/null 2>&1 || true
fi
if ! command -v promtool >/dev/null; then
  echo 'SKIPPED: the alert rules were not tested, because promtool (Debian package prometheus) is not here'
  exit 0
fi
promtool check rules relevo-alerts.yml
promtool test rules relevo-alerts.test.yml
