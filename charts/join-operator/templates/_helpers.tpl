{{/*
Names are fixed: there is one operator in a cluster, since the groups of its tokens, its policies and the
CustomResourceDefinition belong to the whole cluster. A second release fails on ownership, as it should.
*/}}
{{- define "join-operator.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: join-operator
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "join-operator.selectorLabels" . }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "join-operator.selectorLabels" -}}
app.kubernetes.io/name: join-controller
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The controller as the API server names it. */}}
{{- define "join-operator.user" -}}
system:serviceaccount:{{ .Release.Namespace }}:join-controller
{{- end }}

{{- define "join-operator.image" -}}
{{- $image := .Values.image -}}
{{ $image.repository }}:{{ $image.tag | default .Chart.AppVersion }}{{ with $image.digest }}@{{ . }}{{ end }}
{{- end }}

{{/* What a scraper needs to know: the values of one endpoint of a ServiceMonitor or PodMonitor. */}}
{{- define "join-operator.endpoint" -}}
{{- $metrics := .root.Values.metrics -}}
port: metrics
path: /metrics
{{- with .monitor.interval }}
interval: {{ . }}
{{- end }}
{{- with .monitor.scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- if $metrics.secure }}
scheme: https
tlsConfig:
  {{- if $metrics.certificateSecretName }}
  serverName: join-controller-metrics.{{ .root.Release.Namespace }}.svc
  ca:
    secret:
      name: {{ $metrics.certificateSecretName }}
      key: ca.crt
  {{- else }}
  # Each replica signs its own certificate.
  insecureSkipVerify: true
  {{- end }}
{{- if $metrics.scraperTokenSecret.name }}
authorization:
  credentials:
    name: {{ $metrics.scraperTokenSecret.name }}
    key: {{ $metrics.scraperTokenSecret.key }}
{{- else }}
bearerTokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token
{{- end }}
{{- end }}
{{- with .monitor.relabelings }}
relabelings:
{{ toYaml . }}
{{- end }}
{{- with .monitor.metricRelabelings }}
metricRelabelings:
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "join-operator.validationActions" -}}
[Deny{{ if .Values.policies.audit }}, Audit{{ end }}]
{{- end }}

{{/*
What a policy needs to know of a bootstrap token's Secret: `group` and `expiration`.

CEL sees the values of a Secret as the base64 text that is stored, and has no function to decode it. Groups are
compared in that form; the 20 characters of `expiration` (2026-07-01T12:00:00Z) are decoded by hand: four digits of
base 64 at a time make three characters.
*/}}
{{- define "join-operator.tokenVariables" -}}
- name: secret
  expression: "request.operation == 'DELETE' ? oldObject : object"
- name: group
  expression: >-
    has(variables.secret.data) && 'auth-extra-groups' in variables.secret.data
    ? string(variables.secret.data['auth-extra-groups']) : ''
- name: encoded
  expression: >-
    has(variables.secret.data) && 'expiration' in variables.secret.data
    ? string(variables.secret.data['expiration']) : ''
- name: digits
  expression: >-
    variables.encoded.matches('^[A-Za-z0-9+/]{27}=$')
    ? variables.encoded.split('').map(c, c == '=' ? 0 : 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'.indexOf(c)) : []
- name: codes
  expression: >-
    size(variables.digits) != 28 ? [] : [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19].map(i,
    i % 3 == 0 ? variables.digits[i / 3 * 4] * 4 + variables.digits[i / 3 * 4 + 1] / 16
    : i % 3 == 1 ? variables.digits[i / 3 * 4 + 1] % 16 * 16 + variables.digits[i / 3 * 4 + 2] / 4
    : variables.digits[i / 3 * 4 + 2] % 4 * 64 + variables.digits[i / 3 * 4 + 3])
- name: expiration
  expression: >-
    variables.codes.map(c, c >= 48 && c <= 58 ? '0123456789:'.charAt(c - 48) : c == 45 ? '-' : c == 84 ? 'T' : c == 90 ? 'Z' : '?').join()
{{- end }}
