{{- define "throttle.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "throttle.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "throttle.labels" -}}
{{ include "throttle.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "throttle.replicas" -}}
{{- if .Values.cluster.enabled -}}{{ .Values.cluster.replicas }}{{- else -}}1{{- end -}}
{{- end -}}

{{- define "throttle.scheme" -}}
{{- if .Values.tls.secret -}}https{{- else -}}http{{- end -}}
{{- end -}}

{{- define "throttle.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "throttle.name" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* The configuration file of one server. Strings and numbers of JSON are those of TOML. */}}
{{- define "throttle.config" -}}
{{- $root := .root -}}
{{- $values := $root.Values -}}
{{- if $values.hosts }}
[http]
hosts = {{ toJson $values.hosts }}
{{ end }}
[logging.stderr]
level = {{ toJson $values.logging.level }}
format = {{ toJson $values.logging.format }}

[semaphores]
{{- range $name, $value := $values.semaphores }}
{{- if kindIs "map" $value }}
{{ toJson $name }} = { {{ range $index, $key := keys $value | sortAlpha }}{{ if $index }}, {{ end }}{{ $key }} = {{ toJson (get $value $key) }}{{ end }} }
{{- else }}
{{ toJson $name }} = {{ toJson $value }}
{{- end }}
{{- end }}
{{ if or $values.security.tokensSecret $values.security.public }}
[security]
{{- if $values.security.tokensSecret }}
tokens = "/run/throttle/tokens/tokens.toml"
required = true
{{- end }}
{{- with $values.security.public }}
public = {{ toJson . }}
{{- end }}
{{ end }}
{{- if $values.tls.secret }}
[tls]
cert = "/run/throttle/tls/tls.crt"
key = "/run/throttle/tls/tls.key"
{{ end }}
{{- if $values.cluster.enabled }}
[cluster]
endpoints = {{ toJson $values.cluster.endpoints }}
prefix = {{ toJson $values.cluster.prefix }}
lease = {{ toJson $values.cluster.lease }}
advertise = {{ printf "%s://%s.%s-servers.%s.svc:8000" (include "throttle.scheme" $root) .pod (include "throttle.name" $root) $root.Release.Namespace | toJson }}
{{- if $values.tls.secret }}
server_ca = "/run/throttle/tls/ca.crt"
{{- end }}
{{- if $values.cluster.tlsSecret }}
ca = "/run/throttle/etcd/ca.crt"
{{- if $values.cluster.clientCertificate }}
cert = "/run/throttle/etcd/tls.crt"
key = "/run/throttle/etcd/tls.key"
{{- end }}
{{- end }}
{{- if $values.cluster.userSecret }}
username = {{ toJson $values.cluster.username }}
password_file = "/run/throttle/etcd-user/password"
{{- end }}
{{ end }}
{{- with $values.config }}
{{ . }}
{{- end }}
{{- end -}}
