{{/*
The service's settings file. What the chart must know of itself (doors, drain, places) is laid over what `config` says.
Written by hand because Helm's own toToml writes whole numbers as 8001.0, which is no port.
*/}}

{{- define "rollcall.settings" -}}
{{- $grpc := dict "host" "0.0.0.0" "port" .Values.ports.grpc
  "propagation_seconds" .Values.drain.propagationSeconds "drain_seconds" .Values.drain.seconds }}
{{- $own := dict "grpc" $grpc "admin" (dict "host" "0.0.0.0" "port" .Values.ports.admin) }}
{{- if .Values.persistence.enabled }}
{{- $_ := set $own "state" (dict "directory" "/var/lib/rollcall/state") }}
{{- end }}
{{- $auth := dict "dangerously_serve_anyone" .Values.auth.dangerouslyServeAnyone }}
{{- if .Values.auth.callers.secretName }}
{{- $_ := set $auth "callers" (printf "/etc/rollcall/callers/%s" .Values.auth.callers.key) }}
{{- end }}
{{- $_ := set $own "auth" $auth }}
{{- if include "rollcall.tlsSecret" . }}
{{- $tls := dict "certificate" "/etc/rollcall/tls/tls.crt" "key" "/etc/rollcall/tls/tls.key" }}
{{- if .Values.tls.clientCertificates }}
{{- $_ := set $tls "client_ca" "/etc/rollcall/tls/ca.crt" }}
{{- end }}
{{- $_ := set $own "tls" $tls }}
{{- end }}
{{- if .Values.audit.enabled }}
{{- $audit := dict "directory" "/var/lib/rollcall/audit" }}
{{- if .Values.audit.signingKey.secretName }}
{{- $_ := set $audit "signing_key" (printf "/etc/rollcall/signing/%s" .Values.audit.signingKey.key) }}
{{- end }}
{{- if .Values.audit.encryptionKey.secretName }}
{{- $_ := set $audit "encryption_key" (printf "/etc/rollcall/encryption/%s" .Values.audit.encryptionKey.key) }}
{{- end }}
{{- if .Values.audit.database.secretName }}
{{- $_ := set $audit "database" (printf "/etc/rollcall/database/%s" .Values.audit.database.key) }}
{{- end }}
{{- if .Values.audit.checkpointClaim }}
{{- $_ := set $audit "checkpoint_directory" "/var/lib/checkpoints" }}
{{- end }}
{{- $_ := set $own "audit" $audit }}
{{- end }}
{{- $models := dict }}
{{- range $name, $model := .Values.models }}
{{- $_ := set $models $name (merge (dict "path" (printf "/models/%s" ($model.path | default $name))) $model) }}
{{- end }}
{{- with $models }}
{{- $_ := set $own "models" . }}
{{- end }}
{{- include "rollcall.toml" (list "" (merge $own (deepCopy .Values.config))) }}
{{- end }}

{{/* A table: list of its dotted name and its keys. Values first, as TOML wants it, then the tables in it. */}}
{{- define "rollcall.toml" -}}
{{- $name := index . 0 }}
{{- range $key, $value := index . 1 }}
{{- if not (kindIs "map" $value) }}
{{ $key }} = {{ include "rollcall.tomlValue" $value }}
{{- end }}
{{- end }}
{{- range $key, $value := index . 1 }}
{{- if kindIs "map" $value }}
{{- $whole := toJson $key }}
{{- if regexMatch "^[A-Za-z0-9_-]+$" $key }}{{ $whole = $key }}{{ end }}
{{- if $name }}{{ $whole = printf "%s.%s" $name $whole }}{{ end }}

[{{ $whole }}]
{{- include "rollcall.toml" (list $whole $value) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "rollcall.tomlValue" -}}
{{- if kindIs "float64" . -}}
{{- if eq (floor .) . }}{{ printf "%d" (int64 .) }}{{ else }}{{ . }}{{ end }}
{{- else -}}
{{- toJson . }}
{{- end }}
{{- end }}
