{{/* Names, labels, and what is decided from several values at once. */}}

{{- define "rollcall.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "rollcall.fullname" -}}
{{- $name := include "rollcall.name" . }}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) }}
{{- .Values.fullnameOverride | default $full | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "rollcall.selector" -}}
app.kubernetes.io/name: {{ include "rollcall.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: server
{{- end }}

{{- define "rollcall.commonLabels" -}}
app.kubernetes.io/name: {{ include "rollcall.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* metadata of an object: list of the root, a suffix of its name, its labels and its annotations */}}
{{- define "rollcall.metadata" -}}
{{- $root := index . 0 }}
{{- $annotations := merge (dict) (index . 3) $root.Values.commonAnnotations }}
name: {{ include "rollcall.fullname" $root }}{{ index . 1 }}
namespace: {{ $root.Release.Namespace }}
labels:
  {{- include "rollcall.commonLabels" $root | nindent 2 }}
  {{- with index . 2 }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "rollcall.image" -}}
{{- $image := .Values.image }}
{{- with $image.registry }}{{ . }}/{{ end }}{{ $image.repository }}
{{- with $image.digest }}@{{ . }}{{ else }}:{{ $image.tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "rollcall.serviceAccount" -}}
{{- $made := .Values.serviceAccount.create | ternary (include "rollcall.fullname" .) "default" }}
{{- .Values.serviceAccount.name | default $made }}
{{- end }}

{{/* Old and new pods never share a volume, nor a GPU that only one of them can have. */}}
{{- define "rollcall.strategy" -}}
{{- if .Values.strategy }}
{{- toYaml .Values.strategy }}
{{- else if .Values.persistence.enabled }}
type: Recreate
{{- else if .Values.gpu.count }}
type: RollingUpdate
rollingUpdate: { maxSurge: 0, maxUnavailable: 1 }
{{- else }}
type: RollingUpdate
rollingUpdate: { maxSurge: 1, maxUnavailable: 0 }
{{- end }}
{{- end }}

{{- define "rollcall.podSecurityContext" -}}
runAsNonRoot: true
{{- with .Values.user }}
runAsUser: {{ . | int64 }}
runAsGroup: {{ . | int64 }}
fsGroup: {{ . | int64 }}
{{- end }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "rollcall.securityContext" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{- define "rollcall.tlsSecret" -}}
{{- $made := .Values.tls.certManager.enabled | ternary (printf "%s-tls" (include "rollcall.fullname" .)) "" }}
{{- .Values.tls.secretName | default $made }}
{{- end }}

{{/* Secrets of the service's own, mounted at /etc/rollcall/NAME: their names and those of the Secrets, as JSON. */}}
{{- define "rollcall.secrets" -}}
{{- $found := dict }}
{{- with .Values.auth.callers.secretName }}{{ $_ := set $found "callers" . }}{{ end }}
{{- with include "rollcall.tlsSecret" . }}{{ $_ := set $found "tls" . }}{{ end }}
{{- if .Values.audit.enabled }}
{{- with .Values.audit.signingKey.secretName }}{{ $_ := set $found "signing" . }}{{ end }}
{{- with .Values.audit.encryptionKey.secretName }}{{ $_ := set $found "encryption" . }}{{ end }}
{{- with .Values.audit.database.secretName }}{{ $_ := set $found "database" . }}{{ end }}
{{- end }}
{{- toJson $found }}
{{- end }}

{{/* Longer than everything that happens after SIGTERM. */}}
{{- define "rollcall.gracePeriod" -}}
{{- $drain := .Values.drain }}
{{- add (int64 $drain.propagationSeconds) (int64 $drain.seconds) (int64 $drain.flushSeconds) 5 }}
{{- end }}
