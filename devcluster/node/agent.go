package node

import (
	"context"
	"encoding/json"
	"log"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// agent follows the pods that are scheduled to this node and holds one worker for each that is not over.
// It acts on what a pod is, never on how it came to be so: the same pod seen again changes nothing.
type agent struct {
	client kubernetes.Interface
	node   string
	images *imageTable
	pods   *podStore
	from   *resolver
	cache  cache.SharedIndexInformer

	mu      sync.Mutex
	closed  bool // the node is going down: nothing is started, nothing is reported
	workers map[types.UID]*worker
}

func newAgent(client kubernetes.Interface, node string, pods *podStore, images *imageTable, api map[string]string) *agent {
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTweakListOptions(func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", node).String()
	}))
	return &agent{
		client: client, node: node, images: images, pods: pods,
		from:    &resolver{client: client, nodeName: node, api: api},
		cache:   factory.Core().V1().Pods().Informer(),
		workers: map[types.UID]*worker{},
	}
}

// run follows the pods until ctx ends.
func (a *agent) run(ctx context.Context) error {
	registration, err := a.cache.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { a.observe(object.(*corev1.Pod)) },
		UpdateFunc: func(_, object any) { a.observe(object.(*corev1.Pod)) },
		DeleteFunc: func(object any) {
			if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
				object = gone.Obj
			}
			if pod, ok := object.(*corev1.Pod); ok {
				a.forget(pod)
			}
		},
	})
	if err != nil {
		return err
	}
	go func() {
		if !cache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
			return
		}
		keep := map[string]bool{}
		for _, object := range a.cache.GetStore().List() {
			keep[string(object.(*corev1.Pod).UID)] = true
		}
		a.pods.prune(keep)
	}()
	a.cache.RunWithContext(ctx)
	return nil
}

// observe brings the node in line with one pod.
func (a *agent) observe(pod *corev1.Pod) {
	a.mu.Lock()
	defer a.mu.Unlock()
	current := a.workers[pod.UID]
	switch {
	case a.closed:
	case current != nil && pod.DeletionTimestamp != nil:
		current.end(nil, current.grace(pod.DeletionGracePeriodSeconds))
	case current != nil:
	case isOver(pod.Status.Phase):
		if pod.DeletionTimestamp != nil {
			go a.remove(pod)
		}
	case hasRun(&pod.Status) || pod.DeletionTimestamp != nil:
		// Without a worker its processes were of an earlier run of this node, which ended them.
		go a.reportLost(pod)
	default:
		started := newWorker(pod, a.images, a.pods, a.from)
		a.workers[pod.UID] = started
		go a.work(pod, started)
	}
}

// work runs a pod to its end and, if it was deleted, takes it out of the API.
func (a *agent) work(pod *corev1.Pod, w *worker) {
	var last corev1.PodStatus
	w.run(func(status corev1.PodStatus) {
		last = status
		a.report(pod, status)
	})
	current, exists := a.lookup(pod.Namespace, pod.Name)
	if exists && current.UID == pod.UID && current.DeletionTimestamp != nil {
		a.remove(pod)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !exists || current.UID != pod.UID {
		delete(a.workers, pod.UID)
		a.pods.remove(string(pod.UID))
		return
	}
	log.Printf("pod %s/%s is over: %s", pod.Namespace, pod.Name, last.Phase)
}

// forget ends what is left of a pod that is no longer in the API, and its files with it.
func (a *agent) forget(pod *corev1.Pod) {
	a.mu.Lock()
	defer a.mu.Unlock()
	current := a.workers[pod.UID]
	if current == nil {
		a.pods.remove(string(pod.UID))
		return
	}
	delete(a.workers, pod.UID)
	current.end(nil, 0)
	go func() {
		<-current.done
		a.pods.remove(string(pod.UID))
	}()
}

// report writes a pod's status, again and again until the API takes it or knows the pod no more.
//
// It is a patch and not an update: an update would write the metadata as well, and could bring back
// a finalizer that the Job controller took away meanwhile. The UID guards against a namesake.
func (a *agent) report(pod *corev1.Pod, status corev1.PodStatus) {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": pod.UID}, "status": status})
	if err != nil {
		log.Printf("pod %s/%s: %v", pod.Namespace, pod.Name, err)
		return
	}
	for wait := 50 * time.Millisecond; !a.closing(); wait = min(2*wait, 5*time.Second) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		_, err := a.client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
		cancel()
		if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return
		}
		log.Printf("writing the status of pod %s/%s: %v", pod.Namespace, pod.Name, err)
		if apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) {
			return // it would be no better the next time
		}
		time.Sleep(wait)
	}
}

// reportLost says that a pod failed with an earlier run of the node.
func (a *agent) reportLost(pod *corev1.Pod) {
	a.report(pod, lost(pod, metav1.Now()))
	if pod.DeletionTimestamp != nil {
		a.remove(pod)
	}
}

// remove completes a pod's deletion, as only its node may: every process has ended.
func (a *agent) remove(pod *corev1.Pod) {
	options := metav1.NewDeleteOptions(0)
	options.Preconditions = metav1.NewUIDPreconditions(string(pod.UID))
	for wait := 50 * time.Millisecond; !a.closing(); wait = min(2*wait, 5*time.Second) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		err := a.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, *options)
		cancel()
		if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return
		}
		log.Printf("removing pod %s/%s: %v", pod.Namespace, pod.Name, err)
		time.Sleep(wait)
	}
}

// shutdown ends every process, within the grace given. Nothing is reported: at the next start the node
// finds these pods without processes and says so, exactly as after a crash.
func (a *agent) shutdown(grace time.Duration) {
	a.mu.Lock()
	a.closed = true
	workers := make([]*worker, 0, len(a.workers))
	for _, w := range a.workers {
		workers = append(workers, w)
	}
	a.mu.Unlock()
	for _, w := range workers {
		w.end(nil, min(grace, w.grace(nil)))
	}
	deadline := time.After(grace + 2*time.Second)
	for _, w := range workers {
		select {
		case <-w.done:
		case <-deadline:
			return
		}
	}
}

func (a *agent) closing() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.closed
}

// lookup finds a pod of this node in the cache.
func (a *agent) lookup(namespace, name string) (*corev1.Pod, bool) {
	object, exists, err := a.cache.GetStore().GetByKey(namespace + "/" + name)
	if err != nil || !exists {
		return nil, false
	}
	return object.(*corev1.Pod), true
}

// worker is the one that runs a pod, or nil.
func (a *agent) worker(uid types.UID) *worker {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.workers[uid]
}
