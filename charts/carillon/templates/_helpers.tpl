{{/* Names and parts that several templates share. */}}

{{- define "carillon.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "carillon.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains (include "carillon.name" .) .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "carillon.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* The labels by which a component's pods are selected; they never change. Of (root, component). */}}
{{- define "carillon.selector" -}}
app.kubernetes.io/name: {{ include "carillon.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* All labels of an object. Of (root, component). */}}
{{- define "carillon.labels" -}}
{{ include "carillon.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* An image's reference. Of (root, image). */}}
{{- define "carillon.image" -}}
{{- $tag := default .root.Chart.AppVersion .image.tag -}}
{{- if .image.digest }}{{ .image.repository }}@{{ .image.digest }}{{ else }}{{ .image.repository }}:{{ $tag }}{{ end }}
{{- end }}

{{/* What the standard "restricted" asks of a container, and a root that cannot be written to. */}}
{{- define "carillon.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* What the pods of the operator's image have in common. Of root. */}}
{{- define "carillon.pod" -}}
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/*
Where pods go. Of (root, component, values, and shard if there are any); those of one component, and of one shard, keep
apart unless it is said otherwise: each shard has a leader and a standby of its own.
*/}}
{{- define "carillon.placement" -}}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
{{- if .values.topologySpreadConstraints }}
  {{- toYaml .values.topologySpreadConstraints | nindent 2 }}
{{- else }}
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "carillon.selector" $ | nindent 8 }}
        {{- if hasKey $ "shard" }}
        carillon.dev/shard: {{ $.shard | quote }}
        {{- end }}
  {{- end }}
{{- end }}
{{- end }}

{{/* The Secret with the database's URLs. */}}
{{- define "carillon.databaseSecret" -}}
{{- if .Values.postgres.enabled }}{{ include "carillon.fullname" . }}-database{{ else }}{{ .Values.database.existingSecret }}{{ end }}
{{- end }}

{{/*
A variable from that Secret. Of (root, name, key). Optional for Kubernetes: if it is missing, the pod starts and the program
says in its log what to do; a container that is not created has no log.
*/}}
{{- define "carillon.fromDatabaseSecret" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ include "carillon.databaseSecret" .root }}
      key: {{ .key }}
      optional: true
{{- end }}

{{/* Not empty if the API has a user of its own in the database. Of root. */}}
{{- define "carillon.apiRole" -}}
{{- if or .Values.postgres.enabled (dig "database" "apiRole" false .Values.AsMap) }}true{{ end }}
{{- end }}

{{/* What has pods begin anew when the Secret with the database's URLs has changed. Of root; nothing is known of it offline. */}}
{{- define "carillon.checksum" -}}
{{- $secret := lookup "v1" "Secret" .Release.Namespace (include "carillon.databaseSecret" .) -}}
checksum/database: {{ dig "data" dict $secret | toJson | sha256sum }}
{{- end }}

{{/*
The Secret with the webhook's certificate. One of the chart's and one of cert-manager's have names of their own: when the
kind changes, Helm deletes its Secret, and must not delete what cert-manager has just written.
*/}}
{{- define "carillon.webhookSecret" -}}
{{ include "carillon.fullname" . }}-webhook{{ if .Values.webhook.certManager.enabled }}-issued{{ end }}
{{- end }}

{{/* Not empty if runners report to the recorder. Of root; --reuse-values of a release without one knows no such value. */}}
{{- define "carillon.recorder" -}}
{{- if dig "recorder" "enabled" false .Values.AsMap }}true{{ end }}
{{- end }}

{{/* Without the recorder, how runners log in to the database: shared or namespace. */}}
{{- define "carillon.runnerLogins" -}}
{{ dig "recorder" "logins" "shared" .Values.AsMap }}
{{- end }}

{{/* The Secret with the recorder's certificate; see carillon.webhookSecret for its two names. */}}
{{- define "carillon.recorderSecret" -}}
{{ include "carillon.fullname" . }}-recorder{{ if .Values.recorder.certManager.enabled }}-issued{{ end }}
{{- end }}

{{/* The objects of a file of files/rbac, by kind. Of (root, file); YAML. */}}
{{- define "carillon.rbac" -}}
{{- $found := dict }}
{{- range splitList "\n---\n" (.root.Files.Get (printf "files/rbac/%s.yaml" .file)) }}
{{- $object := fromYaml . }}
{{- $_ := set $found $object.kind $object }}
{{- end }}
{{- toYaml $found }}
{{- end }}

{{/* Which Secrets HTTPTargets may use: any only where no object is stored whose author has not been checked. */}}
{{- define "carillon.targetSecrets" -}}
{{- $checked := and .Values.webhook.enabled (eq .Values.webhook.failurePolicy "Fail") }}
{{- .Values.operator.targetSecrets | default (ternary "any" "labelled" $checked) }}
{{- end }}

{{/* Refuse what no schema can say: values that only make sense together. */}}
{{- define "carillon.check" -}}
{{- if and (eq (include "carillon.runnerLogins" .) "namespace") (or (include "carillon.recorder" .) (not (dig "watch" "namespaces" list .Values.AsMap))) }}
{{- fail "recorder.logins is namespace, which needs recorder.enabled=false and watch.namespaces: the logins of these namespaces are created" }}
{{- end }}
{{- if and (not .Values.postgres.enabled) (not .Values.database.existingSecret) }}
{{- fail "database.existingSecret is not set: name a Secret of this namespace with the keys database-url and runner-database-url, or set postgres.enabled=true for a trial" }}
{{- end }}
{{- if and .Values.postgres.enabled .Values.database.existingSecret }}
{{- fail "database.existingSecret and postgres.enabled are both set: unset one, for there is one database" }}
{{- end }}
{{- if and (dig "watch" "namespaces" list .Values.AsMap) (not (has .Values.api.defaultNamespace (dig "watch" "namespaces" list .Values.AsMap))) }}
{{- fail (printf "api.defaultNamespace is %s, which is not in watch.namespaces: set it to one of %s" .Values.api.defaultNamespace (join ", " (dig "watch" "namespaces" list .Values.AsMap))) }}
{{- end }}
{{- if and .Values.api.ingress.enabled (not .Values.api.ingress.host) }}
{{- fail "api.ingress.host is not set: set it to the host name of the API, or api.ingress.enabled=false" }}
{{- end }}
{{- if and .Values.webhook.certManager.enabled (not .Values.webhook.certManager.issuerName) }}
{{- fail "webhook.certManager.issuerName is not set: name an issuer of cert-manager, or set webhook.certManager.enabled=false" }}
{{- end }}
{{- if and (include "carillon.recorder" .) .Values.recorder.certManager.enabled (not .Values.recorder.certManager.issuerName) }}
{{- fail "recorder.certManager.issuerName is not set: name an issuer of cert-manager, or set recorder.certManager.enabled=false" }}
{{- end }}
{{- if not (regexMatch "^[a-z][-a-z0-9]*$" (include "carillon.fullname" .)) }}
{{- fail (printf "fullnameOverride: objects would be called %s: set it to lowercase letters, digits and hyphens, starting with a letter" (include "carillon.fullname" .)) }}
{{- end }}
{{- if not (regexMatch "[a-z]" .Release.Namespace) }}
{{- fail (printf "the namespace %s is a number: choose one with a letter" .Release.Namespace) }}
{{- end }}
{{- if and .Values.webhook.enabled (eq (int .Values.webhook.port) 8081) }}
{{- fail "webhook.port is 8081, where the operator serves its probes: choose another" }}
{{- end }}
{{- if and .Values.monitoring.serviceMonitor.enabled (not .Values.api.metricsPublic) }}
{{- fail "monitoring.serviceMonitor.enabled wants api.metricsPublic=true: its Prometheus has no credential of Carillon's; or set monitoring.serviceMonitor.enabled=false and scrape with a token" }}
{{- end }}
{{- $first := lookup "apps/v1" "Deployment" .Release.Namespace (printf "%s-operator-0" (include "carillon.fullname" .)) }}
{{- if and $first (gt (int .Values.operator.replicas) 0) (gt (int (dig "spec" "replicas" 0 $first)) 0) }}
{{- range (index $first.spec.template.spec.containers 0).env }}
{{- if and (eq .name "CARILLON_SHARDS") (ne .value (printf "%d" (int $.Values.operator.shards))) }}
{{- fail (printf "operator.shards is %d, and operators that count %s run: upgrade with operator.replicas=0 first, and then with both" (int $.Values.operator.shards) .value) }}
{{- end }}
{{- end }}
{{- end }}
{{- if gt (int .Values.api.autoscaling.minReplicas) (int .Values.api.autoscaling.maxReplicas) }}
{{- fail "api.autoscaling.minReplicas is more than api.autoscaling.maxReplicas: raise the second or lower the first" }}
{{- end }}
{{- end }}
