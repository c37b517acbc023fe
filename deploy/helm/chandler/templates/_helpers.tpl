{{- define "chandler.fullname" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{/* The labels that select a component's pods: takes a dict of root and component. */}}
{{- define "chandler.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "chandler.labels" -}}
{{ include "chandler.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "chandler.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default (printf "v%s" $.Chart.AppVersion) }}{{ end }}
{{- end }}
{{- end }}

{{/* An unprivileged user without capabilities. */}}
{{- define "chandler.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "chandler.containerSecurity" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Services stop routing to a pod before it stops listening. */}}
{{- define "chandler.lifecycle" -}}
preStop:
  sleep:
    seconds: 5
{{- end }}

{{- define "chandler.environment" -}}
{{- range $name, $value := . }}
- name: {{ $name }}
  value: {{ $value | toString | quote }}
{{- end }}
{{- end }}

{{- define "chandler.scheduling" -}}
{{- with .root.Values }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- with .root.Values.topologySpreadConstraints }}
topologySpreadConstraints:
{{- range . }}
  - {{- toYaml . | nindent 4 }}
    labelSelector:
      matchLabels: {{- include "chandler.selector" $ | nindent 8 }}
{{- end }}
{{- end }}
{{- end }}

{{- define "chandler.vault" -}}
{{- with .Values.vault }}
- name: VAULT_ADDR
  value: {{ .address | quote }}
{{- with .namespace }}
- name: VAULT_NAMESPACE
  value: {{ . | quote }}
{{- end }}
{{- if .caConfigMap }}
- name: VAULT_CACERT
  value: /etc/chandler/vault/ca.crt
{{- end }}
- name: VAULT_KV_MOUNT
  value: {{ .mount | quote }}
- name: VAULT_KV_PREFIX
  value: {{ .prefix | quote }}
- name: VAULT_AUTH_METHOD
  value: {{ .authMethod }}
{{- if eq .authMethod "kubernetes" }}
- name: VAULT_KUBERNETES_MOUNT
  value: {{ .kubernetes.mount | quote }}
- name: VAULT_KUBERNETES_ROLE
  value: {{ .kubernetes.role | quote }}
- name: VAULT_KUBERNETES_JWT_FILE
  value: /run/secrets/vault/token
{{- end }}
{{- end }}
{{- end }}

{{/* The user's further variables and files: takes the values of the broker or of the
functions. */}}
{{- define "chandler.extraEnvironment" -}}
{{- with .extraEnv }}
{{- toYaml . }}
{{- end }}
{{- end }}

{{- define "chandler.extraMounts" -}}
{{- if .existingSecretFiles }}
- {name: files, mountPath: /run/secrets/chandler, readOnly: true}
{{- end }}
{{- with .extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "chandler.extraVolumes" -}}
{{- with .existingSecretFiles }}
- name: files
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- with .extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* An Ingress: takes a dict of root, component, name (of the Ingress and the service),
values and tls (whether the service uses TLS). */}}
{{- define "chandler.ingress" -}}
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "chandler.labels" . | nindent 4 }}
  {{- with .values.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- with .values.className }}
  ingressClassName: {{ . }}
  {{- end }}
  {{- with .values.tlsSecret }}
  tls:
    - secretName: {{ . }}
      hosts: [{{ $.values.host | quote }}]
  {{- end }}
  rules:
    - host: {{ .values.host | quote }}
      http:
        paths:
          - path: /
            pathType: Prefix
            backend:
              service:
                name: {{ .name }}
                port: {name: http}
{{- end }}
