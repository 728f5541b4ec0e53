{{/* What the values and the cluster must keep to, and no schema can say; checks.yaml refuses what does not. */}}

{{/* The groups of an address as numbers, by commas: four of eight bits or eight of sixteen; nothing if it is none. Of text. */}}
{{- define "carillon.groups" -}}
{{- $octet := "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])" }}
{{- if regexMatch (printf "^(%s[.]){3}%s$" $octet $octet) . }}
{{- . | replace "." "," }}
{{- else }}
{{- $halves := splitList "::" . }}
{{- $run := "^([0-9a-fA-F]{1,4}(:[0-9a-fA-F]{1,4})*)?$" }}
{{- $head := first $halves | splitList ":" | compact }}
{{- $tail := ternary (list) (last $halves | splitList ":" | compact) (eq (len $halves) 1) }}
{{- $count := add (len $head) (len $tail) | int }}
{{- $whole := and (eq (len $halves) 1) (eq $count 8) }}
{{- $short := and (eq (len $halves) 2) (lt $count 8) }}
{{- if and (regexMatch $run (first $halves)) (regexMatch $run (last $halves)) (or $whole $short) }}
{{- $zeros := list }}
{{- range until (sub 8 $count | int) }}{{ $zeros = append $zeros "0" }}{{ end }}
{{- $groups := list }}
{{- range concat $head $zeros $tail }}{{ $groups = append $groups (int64 (printf "0x%s" .)) }}{{ end }}
{{- join "," $groups }}
{{- end }}
{{- end }}
{{- end }}

{{/* "yes" if a text is a network without bits beyond its prefix, or an address. */}}
{{- define "carillon.isNetwork" -}}
{{- $parts := splitList "/" . }}
{{- $groups := include "carillon.groups" (first $parts) | splitList "," | compact }}
{{- $size := ternary 16 8 (contains ":" .) }}
{{- $most := mul $size (len $groups) | int }}
{{- $length := ternary (printf "%d" $most) (last $parts) (eq (len $parts) 1) }}
{{- if and $groups (le (len $parts) 2) (regexMatch "^(0|[1-9][0-9]{0,2})$" $length) (le (int $length) $most) }}
{{- $powers := list 1 2 4 8 16 32 64 128 256 512 1024 2048 4096 8192 16384 32768 65536 }}
{{- $beyond := 0 }}
{{- range $index, $group := $groups }}
{{- $free := sub (mul (add1 $index) $size) (int $length) | max 0 | min $size | int }}
{{- $beyond = add $beyond (mod (int64 $group) (index $powers $free)) }}
{{- end }}
{{- if eq (int $beyond) 0 }}yes{{ end }}
{{- end }}
{{- end }}

{{/* "yes" if the operator takes a text for an entry of CARILLON_HTTP_ALLOW. */}}
{{- define "carillon.isAllowed" -}}
{{- $bare := . }}
{{- $port := "1" }}
{{- if or (eq (len (splitList ":" .)) 2) (hasPrefix "[" .) }}
{{- $form := "^([^][:]*|[[][^][]*[]])(:([0-9]{1,5}))?$" }}
{{- $port = ternary (regexReplaceAll $form . "${3}" | default "1") "0" (regexMatch $form .) }}
{{- $bare = regexReplaceAll $form . "${1}" | trimAll "[]" }}
{{- end }}
{{- $last := trimSuffix "." $bare | splitList "." | last | lower }}
{{- $right := false }}
{{- if or (contains "/" $bare) (contains ":" $bare) (regexMatch "^([0-9]+|0x[0-9a-f]*)$" $last) }}
{{- $groups := include "carillon.groups" (splitList "/" $bare | first) }}
{{- $mapped := or (hasPrefix "0,0,0,0,0,65535," $groups) (hasPrefix "100,65435,0,0,0,0," $groups) }}
{{- $right = and (include "carillon.isNetwork" $bare) (not $mapped) }}
{{- else }}
{{- $name := lower $bare | trimPrefix "*." | trimSuffix "." }}
{{- $local := list "localhost" "localhost.localdomain" "localhost6" "ip6-localhost" "ip6-loopback" }}
{{- $label := "[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?" }}
{{- $named := regexMatch (printf "^(%s[.])*%s$" $label $label) $name }}
{{- $right = and $named (not (has $name $local)) (not (hasSuffix ".localhost" $name)) }}
{{- end }}
{{- if and $right (ge (atoi $port) 1) (le (atoi $port) 65535) }}yes{{ end }}
{{- end }}

{{/* Refuse what the programs would refuse when they start. Of root. */}}
{{- define "carillon.refuseSettings" -}}
{{- range .Values.api.trustedProxies }}
{{- if not (include "carillon.isNetwork" .) }}
{{- fail (printf "api.trustedProxies has %s: write a network without bits beyond its prefix, such as 10.0.0.0/8 or fd00::/8" .) }}
{{- end }}
{{- end }}
{{- range .Values.operator.httpAllow }}
{{- if not (include "carillon.isAllowed" .) }}
{{- fail (printf "operator.httpAllow has %s: write a network without bits beyond its prefix (10.96.0.0/12), an address, a name, or *. and the end of names (*.svc), each with :port if one alone is meant; a name opens no loopback" .) }}
{{- end }}
{{- end }}
{{- range $field, $image := dict "operator.image" .Values.operator.image "operator.runnerImage" .Values.operator.runnerImage }}
{{- $tag := regexFind ":[^/]*$" $image.repository }}
{{- if $tag }}
{{- fail (printf "%s.repository is %s, with a tag in it: take it off and set %s.tag=%s" $field $image.repository $field (trimPrefix ":" $tag)) }}
{{- end }}
{{- end }}
{{- end }}

{{/*
Refuse a second release whose operators would decide about tasks that another one's decide about already. Of root.
One whose operators are stopped may be there, so that a release can be moved.
*/}}
{{- define "carillon.refuseSecondRelease" -}}
{{- $mine := dig "watch" "namespaces" list .Values.AsMap | compact }}
{{- if gt (int .Values.operator.replicas) 0 }}
{{- range (lookup "apps/v1" "Deployment" "" "").items }}
{{- $labels := default dict .metadata.labels }}
{{- $ours := hasPrefix "carillon-" (dig "helm.sh/chart" "" $labels) }}
{{- $operator := and $ours (eq (dig "app.kubernetes.io/component" "" $labels) "operator") (gt (int (dig "spec" "replicas" 1 .)) 0) }}
{{- $release := dig "app.kubernetes.io/instance" "" $labels }}
{{- if and $operator (not (and (eq .metadata.namespace $.Release.Namespace) (eq $release $.Release.Name))) }}
{{- $theirs := list }}
{{- range .spec.template.spec.containers }}
{{- range .env }}
{{- if eq .name "CARILLON_NAMESPACES" }}{{ $theirs = default "" .value | splitList "," | compact }}{{ end }}
{{- end }}
{{- end }}
{{- $both := list }}
{{- range $theirs }}{{ if has . $mine }}{{ $both = append $both . }}{{ end }}{{ end }}
{{- if or (not $mine) (not $theirs) $both }}
{{- $apart := ternary ", or give each watch.namespaces of its own" "" (hasKey $.Values.AsMap "watch") }}
{{- fail (printf "the release %s in the namespace %s watches %s, and two operators would decide about one task: uninstall it, or stop it with operator.replicas=0%s" $release .metadata.namespace (ternary "all namespaces" (join ", " (ternary $both $theirs (gt (len $both) 0))) (not $theirs)) $apart) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
