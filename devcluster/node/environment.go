package node

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/kubernetes/pkg/api/v1/resource"
	"k8s.io/kubernetes/pkg/fieldpath"
	"k8s.io/kubernetes/third_party/forked/golang/expansion"
)

// terminationVariable names the variable that holds the real file behind terminationMessagePath:
// nothing can be mounted into a process, so it is told where to write instead.
const terminationVariable = "CARILLON_TERMINATION_LOG"

// defaultPath is the search path of a container whose image says nothing of it.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// command is a container's process, ready to be started.
type command struct {
	argv []string
	env  map[string]string
	dir  string

	as         *identity // the user that it runs as; nil for the node's own
	readsAll   bool      // the image says so
	entrypoint bool      // it runs the image's own program
}

// resolver turns a container's specification into a command, reading Secrets and ConfigMaps from the API.
// They are read anew for each start, so that a Secret made a moment ago is seen.
type resolver struct {
	client   kubernetes.Interface
	nodeName string
	api      map[string]string
}

// resolve makes the command. The process gets what the image, the pod and this function name, and
// nothing of the node's own environment. home is a folder for this container alone.
func (r *resolver) resolve(ctx context.Context, pod *corev1.Pod, container *corev1.Container, from image, home, termination string) (command, error) {
	declared, err := r.declared(ctx, pod, container)
	if err != nil {
		return command{}, err
	}
	env := map[string]string{
		"PATH":     defaultPath,
		"HOME":     home,
		"TMPDIR":   filepath.Join(home, "tmp"),
		"HOSTNAME": pod.Name,
	}
	maps.Copy(env, from.Env)
	maps.Copy(env, r.api)
	maps.Copy(env, declared)
	env[terminationVariable] = termination

	// Docker's rule: a command replaces the entrypoint, arguments are appended to whichever it is.
	mapping := expansion.MappingFuncFor(declared, r.api)
	var argv []string
	if len(container.Command) == 0 {
		argv = slices.Clone(from.Entrypoint)
	}
	for _, word := range slices.Concat(container.Command, container.Args) {
		argv = append(argv, expansion.Expand(word, mapping))
	}
	if len(argv) == 0 {
		return command{}, fmt.Errorf("no command specified: neither container %q nor its image has one", container.Name)
	}
	dir := container.WorkingDir
	if dir == "" {
		dir = from.WorkingDir
	}
	if dir == "" {
		dir = home
	}
	own := len(container.Command) == 0
	return command{argv: argv, env: env, dir: dir, readsAll: from.ReadsAll, entrypoint: own}, nil
}

// declared is the environment that the pod asks for: envFrom first, then env, each able to refer to those before it.
func (r *resolver) declared(ctx context.Context, pod *corev1.Pod, container *corev1.Container) (map[string]string, error) {
	env := map[string]string{}
	for i := range container.EnvFrom {
		values, err := r.source(ctx, pod.Namespace, &container.EnvFrom[i])
		if err != nil {
			return nil, err
		}
		for key, value := range values {
			env[container.EnvFrom[i].Prefix+key] = value
		}
	}
	mapping := expansion.MappingFuncFor(env, r.api)
	for i := range container.Env {
		variable := &container.Env[i]
		if variable.ValueFrom == nil {
			env[variable.Name] = expansion.Expand(variable.Value, mapping)
			continue
		}
		value, found, err := r.value(ctx, pod, container, variable.ValueFrom)
		if err != nil {
			return nil, err
		}
		if found {
			env[variable.Name] = value
		}
	}
	return env, nil
}

// source reads one whole Secret or ConfigMap.
func (r *resolver) source(ctx context.Context, namespace string, from *corev1.EnvFromSource) (map[string]string, error) {
	switch {
	case from.SecretRef != nil:
		return r.secret(ctx, namespace, from.SecretRef.Name, from.SecretRef.Optional)
	case from.ConfigMapRef != nil:
		return r.configMap(ctx, namespace, from.ConfigMapRef.Name, from.ConfigMapRef.Optional)
	}
	return nil, nil
}

// value reads one variable; found is false for an optional source that is not there.
func (r *resolver) value(ctx context.Context, pod *corev1.Pod, container *corev1.Container, from *corev1.EnvVarSource) (value string, found bool, err error) {
	var values map[string]string
	var kind, name, key string
	var optional *bool
	switch {
	case from.FieldRef != nil:
		value, err = r.field(pod, from.FieldRef.FieldPath)
		return value, true, err
	case from.ResourceFieldRef != nil:
		value, err = resource.ExtractContainerResourceValue(from.ResourceFieldRef, container)
		return value, true, err
	case from.SecretKeyRef != nil:
		kind, name, key, optional = "Secret", from.SecretKeyRef.Name, from.SecretKeyRef.Key, from.SecretKeyRef.Optional
		values, err = r.secret(ctx, pod.Namespace, name, optional)
	case from.ConfigMapKeyRef != nil:
		kind, name, key, optional = "ConfigMap", from.ConfigMapKeyRef.Name, from.ConfigMapKeyRef.Key, from.ConfigMapKeyRef.Optional
		values, err = r.configMap(ctx, pod.Namespace, name, optional)
	default:
		return "", false, fmt.Errorf("a source of environment variables that local processes cannot have")
	}
	if err != nil {
		return "", false, err
	}
	value, found = values[key]
	if !found && !isTrue(optional) {
		return "", false, fmt.Errorf("couldn't find key %s in %s %s/%s", key, kind, pod.Namespace, name)
	}
	return value, found, nil
}

func (r *resolver) secret(ctx context.Context, namespace, name string, optional *bool) (map[string]string, error) {
	secret, err := r.client.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, absent(err, optional)
	}
	values := make(map[string]string, len(secret.Data))
	for key, value := range secret.Data {
		values[key] = string(value)
	}
	return values, nil
}

func (r *resolver) configMap(ctx context.Context, namespace, name string, optional *bool) (map[string]string, error) {
	found, err := r.client.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, absent(err, optional)
	}
	return found.Data, nil
}

// field reads the downward API. The addresses are known beforehand, unlike on a real node.
func (r *resolver) field(pod *corev1.Pod, path string) (string, error) {
	switch path {
	case "spec.nodeName":
		return r.nodeName, nil
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, nil
	case "status.podIP", "status.podIPs", "status.hostIP", "status.hostIPs":
		return loopback, nil
	}
	return fieldpath.ExtractFieldPathAsString(pod, path)
}

// absent forgives a missing optional object.
func absent(err error, optional *bool) error {
	if apierrors.IsNotFound(err) && isTrue(optional) {
		return nil
	}
	return err
}

func isTrue(flag *bool) bool {
	return flag != nil && *flag
}

// pairs is the environment as a process wants it, sorted so that a start can be reproduced.
func (c command) pairs() []string {
	result := make([]string, 0, len(c.env))
	for key, value := range c.env {
		result = append(result, key+"="+strings.ReplaceAll(value, "\x00", ""))
	}
	slices.Sort(result)
	return result
}
