{{- define "plexus.namespace" -}}
{{- .Values.namespace.name | default .Release.Namespace -}}
{{- end -}}

{{/* The name that all names of objects begin with. */}}
{{- define "plexus.name" -}}
{{- .Values.nameOverride | default "plexus" -}}
{{- end -}}

{{- define "plexus.agent" -}}
{{- include "plexus.name" . }}-agent
{{- end -}}

{{- define "plexus.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "plexus.agent" .) -}}
{{- end -}}

{{/* The admission policy's condition: the request is one of the agent's account. The default name is known in
any namespace, so that who renders the chart and then changes the namespace does not leave it without the policy. */}}
{{- define "plexus.isAgent" -}}
{{- if eq (include "plexus.serviceAccount" .) "plexus-agent" -}}
request.userInfo.username.matches('^system:serviceaccount:[^:]+:.*plexus-agent')
{{- else -}}
request.userInfo.username == 'system:serviceaccount:{{ include "plexus.namespace" . }}:{{ include "plexus.serviceAccount" . }}'
{{- end -}}
{{- end -}}

{{/* Whether to make what a window pod needs: never the Role without the policies. */}}
{{- define "plexus.windowEnabled" -}}
{{- if and .Values.window.enabled .Values.admissionPolicy -}}
true
{{- end -}}
{{- end -}}

{{- define "plexus.selector" -}}
app.kubernetes.io/name: {{ include "plexus.name" . }}
app.kubernetes.io/component: agent
{{- end -}}

{{- define "plexus.labels" -}}
{{- with .Values.commonLabels }}
{{- toYaml . }}
{{ end -}}
app.kubernetes.io/name: {{ include "plexus.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "plexus.agentLabels" -}}
{{ include "plexus.labels" . }}
app.kubernetes.io/component: agent
{{- end -}}

{{- define "plexus.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Root, because root owns the folders and the socket. It has none of root's powers. */}}
{{- define "plexus.securityContext" -}}
privileged: false
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsUser: 0
runAsGroup: 0
capabilities:
  drop: ["ALL"]
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* One variable of the environment, if it has a value. */}}
{{- define "plexus.env" -}}
{{- if ne (toString .value) "" }}
- name: {{ .name }}
  value: {{ .value | quote }}
{{- end }}
{{- end -}}

{{- define "plexus.logEnv" -}}
{{- include "plexus.env" (dict "name" "PLEXUS_AGENT_LOG_FORMAT" "value" .Values.log.format) }}
{{- include "plexus.env" (dict "name" "PLEXUS_AGENT_LOG_LEVEL" "value" .Values.log.level) }}
{{- end -}}

{{/* An empty value says that there is no kubelet to ask. */}}
{{- define "plexus.podResourcesEnv" -}}
- name: PLEXUS_AGENT_POD_RESOURCES_SOCKET
  value: {{ with .Values.paths.podResources }}{{ printf "%s/kubelet.sock" . | quote }}{{ else }}""{{ end }}
{{- end -}}

{{/* The address of the metrics: the chart's context and a port. */}}
{{- define "plexus.metricsAddress" -}}
{{- if include "plexus.metricsOnNode" (first .) -}}
- name: HOST_IP
  valueFrom:
    fieldRef:
      fieldPath: status.hostIP
- name: PLEXUS_AGENT_METRICS_ADDRESS
  value: "[$(HOST_IP)]:{{ last . }}"
{{- else -}}
- name: PLEXUS_AGENT_METRICS_ADDRESS
  value: 127.0.0.1:{{ last . }}
{{- end }}
{{- end -}}

{{- define "plexus.installEnv" -}}
- name: PLEXUS_AGENT_FROM
  value: /opt/plexus/bin
- name: PLEXUS_AGENT_BIN_DIR
  value: /host/opt/cni/bin
- name: PLEXUS_AGENT_HOST_BIN_DIR
  value: {{ .Values.paths.cniBin | quote }}
- name: PLEXUS_AGENT_CONF_DIR
  value: /host/etc/cni/net.d
- name: PLEXUS_AGENT_HOST_CONF_DIR
  value: {{ .Values.paths.cniConf | quote }}
- name: PLEXUS_AGENT_CNI_DIR
  value: {{ .Values.paths.cniState | quote }}
- name: PLEXUS_AGENT_SOCKET
  value: {{ printf "%s/agent.sock" .Values.paths.run | quote }}
{{ include "plexus.podResourcesEnv" . }}
{{ include "plexus.metricsAddress" (list . .Values.metrics.followPort) }}
{{- with .Values.install }}
{{- include "plexus.env" (dict "name" "PLEXUS_AGENT_HOST_KUBECONFIG" "value" .kubeconfig) }}
{{- with .kubeconfig }}
{{- include "plexus.env" (dict "name" "PLEXUS_AGENT_KUBECONFIG" "value" (printf "/host/kubeconfig/%s" (base .))) }}
{{- end }}
{{- include "plexus.env" (dict "name" "PLEXUS_AGENT_MASTER" "value" .master) }}
{{- include "plexus.env" (dict "name" "PLEXUS_AGENT_CONF_NAME" "value" .confName) }}
{{- include "plexus.env" (dict "name" "PLEXUS_AGENT_NETWORK_NAME" "value" .networkName) }}
{{- include "plexus.env" (dict "name" "PLEXUS_AGENT_READINESS_FILE" "value" .readinessFile) }}
{{- include "plexus.env" (dict "name" "PLEXUS_AGENT_PLUGIN_LOG_LEVEL" "value" .pluginLogLevel) }}
{{- include "plexus.env" (dict "name" "PLEXUS_AGENT_PLUGIN_LOG_FILE" "value" .pluginLogFile) }}
{{- include "plexus.env" (dict "name" "PLEXUS_AGENT_TIMEOUT" "value" .timeout) }}
{{- with .extraConfig }}
{{- include "plexus.env" (dict "name" "PLEXUS_AGENT_EXTRA_CONFIG" "value" (toJson .)) }}
{{- end }}
{{- end }}
{{- include "plexus.logEnv" . }}
{{- with .Values.install.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "plexus.installMounts" -}}
- name: cni-bin
  mountPath: /host/opt/cni/bin
- name: cni-conf
  mountPath: /host/etc/cni/net.d
{{- if .Values.install.kubeconfig }}
- name: kubeconfig
  mountPath: /host/kubeconfig
  readOnly: true
{{- end }}
{{- with .Values.install.readinessFile }}
- name: readiness
  mountPath: {{ dir . | quote }}
  readOnly: true
{{- end }}
{{- with .Values.install.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The certificate of the metrics, if they are served over TLS. It is not for install, which serves nothing.
Without the Secret the pod starts all the same: the node gets Plexus, and the containers say which file they miss. */}}
{{- define "plexus.metricsTLSEnv" -}}
{{- if .Values.metrics.tls.secret }}
- name: PLEXUS_AGENT_METRICS_TLS_CERT
  value: /etc/plexus/metrics/tls.crt
- name: PLEXUS_AGENT_METRICS_TLS_KEY
  value: /etc/plexus/metrics/tls.key
{{- end }}
{{- end -}}

{{- define "plexus.metricsTLSMount" -}}
{{- if .Values.metrics.tls.secret }}
- name: metrics-tls
  mountPath: /etc/plexus/metrics
  readOnly: true
{{- end }}
{{- end -}}

{{/* What a ServiceMonitor or a PodMonitor says of TLS. */}}
{{- define "plexus.metricsScheme" -}}
{{- if .Values.metrics.tls.secret }}
scheme: https
{{- with .Values.metrics.tls.clientConfig }}
tlsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* What a ServiceMonitor or a PodMonitor says of the token, to the agent's port alone: follow asks for none. The
context, the port and the kind. */}}
{{- define "plexus.metricsToken" -}}
{{- $authentication := (first .).Values.metrics.authentication }}
{{- if and $authentication.enabled (eq (index . 1) "metrics") }}
{{- if $authentication.tokenSecret }}
authorization:
  credentials:
    name: {{ $authentication.tokenSecret }}
    key: token
{{- else if eq (last .) "ServiceMonitor" }}
bearerTokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token
{{- end }}
{{- end }}
{{- end -}}

{{- define "plexus.metricsOnNode" -}}
{{- if or .Values.metrics.onNodeAddress .Values.monitoring.enabled }}true{{ end -}}
{{- end -}}

{{/* The volume of the authority of the OTLP endpoint, if there is one. Without the object the pod starts all the
same: the node gets Plexus, and the agent says which file it misses. */}}
{{- define "plexus.otlpCA" -}}
{{- with .Values.agent.otlpCA -}}
{{- if .configMap -}}
configMap: {name: {{ .configMap | quote }}, optional: true}
{{- else if .secret -}}
secret: {secretName: {{ .secret | quote }}, optional: true}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "plexus.agentEnv" -}}
- name: PLEXUS_AGENT_NODE_NAME
  valueFrom:
    fieldRef:
      fieldPath: spec.nodeName
- name: PLEXUS_AGENT_SOCKET
  value: {{ printf "%s/agent.sock" .Values.paths.run | quote }}
- name: PLEXUS_AGENT_STATE_DIR
  value: {{ printf "%s/plexus" .Values.paths.cniState | quote }}
{{ include "plexus.podResourcesEnv" . }}
{{ include "plexus.metricsAddress" (list . .Values.metrics.port) }}
{{- include "plexus.metricsTLSEnv" . }}
{{- if .Values.metrics.authentication.enabled }}
- name: PLEXUS_AGENT_METRICS_AUTHENTICATION
  value: "true"
{{- end }}
- name: GOMEMLIMIT
  valueFrom:
    resourceFieldRef:
      containerName: agent
      resource: limits.memory
{{- if .Values.agent.eventsForAllPods }}
- name: PLEXUS_AGENT_EVENTS_FOR_ALL_PODS
  value: "true"
{{- end }}
{{- include "plexus.env" (dict "name" "PLEXUS_AGENT_REMOVE_TAINT" "value" .Values.agent.removeTaint) }}
{{- include "plexus.env" (dict "name" "OTEL_EXPORTER_OTLP_ENDPOINT" "value" .Values.agent.otlpEndpoint) }}
{{- if include "plexus.otlpCA" . }}
- name: OTEL_EXPORTER_OTLP_CERTIFICATE
  value: /etc/plexus/otlp/{{ .Values.agent.otlpCA.key }}
{{- end }}
{{- include "plexus.env" (dict "name" "KUBERNETES_SERVICE_HOST" "value" .Values.apiServer.host) }}
{{- include "plexus.env" (dict "name" "KUBERNETES_SERVICE_PORT" "value" .Values.apiServer.port) }}
{{- include "plexus.logEnv" . }}
{{- with .Values.agent.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The values of a key that more than one object of a list has: a dict of the list and the key. */}}
{{- define "plexus.twice" -}}
{{- $seen := dict }}
{{- $twice := list }}
{{- $key := .key }}
{{- range .of }}
{{- $name := get . $key }}
{{- if hasKey $seen $name }}
{{- $twice = append $twice $name }}
{{- end }}
{{- $_ := set $seen $name true }}
{{- end }}
{{- toJson (uniq $twice) }}
{{- end -}}

{{/* Whether to make an object of a kind of the Prometheus Operator: the context and the kind. Where a cluster can
be asked (not by helm template) and does not have the kind, NOTES say that it is left out. */}}
{{- define "plexus.served" -}}
{{- $context := first . -}}
{{- if or (not (lookup "v1" "Namespace" "" "kube-system")) ($context.Capabilities.APIVersions.Has (printf "monitoring.coreos.com/v1/%s" (last .))) -}}
true
{{- end -}}
{{- end -}}
