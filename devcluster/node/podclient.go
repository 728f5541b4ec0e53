package node

import (
	"context"
	"encoding/json"
	"log"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
)

// requestTimeout is how long the API server may take for one write.
const requestTimeout = 10 * time.Second

// podClient is the pod controller's client: the real one, but for the two writes that the controller does.
type podClient struct {
	corev1client.PodsGetter
	provider *provider
}

// Pods is the client for one namespace.
func (c podClient) Pods(namespace string) corev1client.PodInterface {
	return podsOf{c.PodsGetter.Pods(namespace), namespace, c.provider}
}

type podsOf struct {
	corev1client.PodInterface
	namespace string
	provider  *provider
}

// UpdateStatus writes the status alone, where the controller would write the pod as it once was over
// the pod as it is: that brings back a finalizer that the Job controller took away meanwhile, and such a
// pod is never gone.
func (c podsOf) UpdateStatus(ctx context.Context, pod *corev1.Pod, _ metav1.UpdateOptions) (*corev1.Pod, error) {
	return pod, c.provider.write(ctx, pod, pod.Status)
}

// Delete completes a pod's deletion when its last process has ended. The controller asks for it earlier:
// when the grace period is over, and at once where no container runs according to the API, which knows
// nothing of init containers and is late for the others.
func (c podsOf) Delete(_ context.Context, name string, options metav1.DeleteOptions) error {
	pod, exists := c.provider.lookup(c.namespace, name)
	meant := options.Preconditions
	if exists && meant != nil && meant.UID != nil && *meant.UID == pod.UID {
		c.provider.release(pod)
	}
	return nil
}

// write tells the API a pod's status, unless its last one is there already: two may write, the controller's
// queue and the pod's removal. The UID guards against a namesake. An error means: try again.
func (p *provider) write(ctx context.Context, pod *corev1.Pod, status corev1.PodStatus) error {
	if p.closing() {
		return nil
	}
	w := p.worker(pod.UID)
	if w != nil {
		w.writing.Lock()
		defer w.writing.Unlock()
		if w.told {
			return nil
		}
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": pod.UID}, "status": status})
	if err != nil {
		log.Printf("pod %s/%s: %v", pod.Namespace, pod.Name, err)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err = p.client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	switch {
	case apierrors.IsNotFound(err) || apierrors.IsConflict(err): // it is gone
	case apierrors.IsInvalid(err) || apierrors.IsBadRequest(err):
		log.Printf("writing the status of pod %s/%s: %v", pod.Namespace, pod.Name, err) // the next time it would be no better
	case err != nil:
		return err
	}
	if w != nil {
		w.told = isOver(status.Phase)
	}
	return nil
}

// remove tells a pod's last status, if there is one to tell, and completes its deletion, as only its node
// may: every process has ended. It tries again and again until the API takes it.
func (p *provider) remove(pod *corev1.Pod, last *corev1.PodStatus) {
	if last != nil {
		p.insist(pod, func(ctx context.Context) error { return p.write(ctx, pod, *last) })
	}
	options := metav1.NewDeleteOptions(0)
	options.Preconditions = metav1.NewUIDPreconditions(string(pod.UID))
	p.insist(pod, func(ctx context.Context) error {
		err := p.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, *options)
		if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return nil
		}
		return err
	})
}

// insist tries until it is done or the node goes down.
func (p *provider) insist(pod *corev1.Pod, try func(context.Context) error) {
	for wait := 50 * time.Millisecond; !p.closing(); wait = min(2*wait, retryMost) {
		ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
		err := try(ctx)
		cancel()
		if err == nil {
			return
		}
		log.Printf("removing pod %s/%s: %v", pod.Namespace, pod.Name, err)
		time.Sleep(wait)
	}
}
