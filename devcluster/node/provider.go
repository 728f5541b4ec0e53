package node

import (
	"context"
	"log"
	"sync"
	"time"

	"github.com/virtual-kubelet/virtual-kubelet/errdefs"
	vk "github.com/virtual-kubelet/virtual-kubelet/node"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	corev1informers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
)

// provider is what virtual-kubelet's pod controller drives: it holds one worker for each pod that was
// started, until the pod is gone from the API. The controller says what is to be; the workers say, by
// notify, what is.
type provider struct {
	client   kubernetes.Interface
	images   *imageTable
	pods     *podStore
	from     *resolver
	users    users
	informer corev1informers.PodInformer
	notify   func(*corev1.Pod) // the controller's; set before anything is started

	mu      sync.Mutex
	closed  bool // the node is going down: nothing is started, nothing is reported
	workers map[types.UID]*worker
}

var (
	_ vk.PodLifecycleHandler = (*provider)(nil)
	_ vk.PodNotifier         = (*provider)(nil)
)

func newProvider(client kubernetes.Interface, node string, pods *podStore, images *imageTable, api map[string]string) *provider {
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTweakListOptions(func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", node).String()
	}))
	return &provider{
		client: client, images: images, pods: pods,
		from:     &resolver{client: client, nodeName: node, api: api},
		informer: steadyPods{factory.Core().V1().Pods()},
		workers:  map[types.UID]*worker{},
	}
}

// NotifyPods takes the function that new statuses go to.
func (p *provider) NotifyPods(_ context.Context, notify func(*corev1.Pod)) {
	p.notify = notify
}

// CreatePod starts a pod's worker. It never fails, since the controller would then declare the pod
// failed: what keeps a pod from running is told in its status, and tried again.
//
// A pod that has run before was started by an earlier run of this node, which ended its processes. It
// is reported lost, so that the Job controller acts, and not run a second time.
func (p *provider) CreatePod(_ context.Context, pod *corev1.Pod) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	// The pod may have gone since the controller saw it, and forget with it: then it is too late to start it.
	current, exists := p.lookup(pod.Namespace, pod.Name)
	switch {
	case p.closed || p.workers[pod.UID] != nil:
	case !exists || current.UID != pod.UID:
	case hasRun(&pod.Status):
		log.Printf("pod %s/%s was lost with an earlier run of this node", pod.Namespace, pod.Name)
		go p.notify(withStatus(pod, lost(pod, metav1.Now())))
	default:
		started := newWorker(pod, p.images, p.pods, p.from, p.users)
		p.workers[pod.UID] = started
		go p.work(started)
	}
	return nil
}

// UpdatePod does nothing: of what may change in a pod, nothing concerns a process that runs.
func (p *provider) UpdatePod(context.Context, *corev1.Pod) error {
	return nil
}

// DeletePod ends a pod's processes. It returns at once; the pod leaves the API when they have ended.
func (p *provider) DeletePod(_ context.Context, pod *corev1.Pod) error {
	p.release(pod)
	return nil
}

// GetPod is the pod of this name that runs here. A name alone may mean an earlier pod, whose processes
// are still being ended; the one that the API has now is meant.
func (p *provider) GetPod(_ context.Context, namespace, name string) (*corev1.Pod, error) {
	if current, exists := p.lookup(namespace, name); exists {
		if w := p.worker(current.UID); w != nil {
			return withStatus(w.pod, w.observe()), nil
		}
	}
	return nil, errdefs.NotFoundf("pod %s/%s does not run on this node", namespace, name)
}

// GetPodStatus is the status of the pod of this name that runs here.
func (p *provider) GetPodStatus(ctx context.Context, namespace, name string) (*corev1.PodStatus, error) {
	pod, err := p.GetPod(ctx, namespace, name)
	if err != nil {
		return nil, err
	}
	return &pod.Status, nil
}

// GetPods is every pod that runs here. The controller asks at its start, when there is none: processes
// do not outlive their node.
func (p *provider) GetPods(context.Context) ([]*corev1.Pod, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pods := make([]*corev1.Pod, 0, len(p.workers))
	for _, w := range p.workers {
		pods = append(pods, withStatus(w.pod, w.observe()))
	}
	return pods, nil
}

// work runs a pod to its end and, if it was deleted meanwhile, takes it out of the API.
func (p *provider) work(w *worker) {
	w.run(func(status corev1.PodStatus) { p.notify(withStatus(w.pod, status)) })
	log.Printf("pod %s/%s is over: %s", w.pod.Namespace, w.pod.Name, w.last.Phase)
	current, exists := p.lookup(w.pod.Namespace, w.pod.Name)
	if exists && current.UID == w.pod.UID && current.DeletionTimestamp != nil {
		p.release(current)
	}
}

// release lets go of a pod that is being deleted: its processes are ended first, within the grace period,
// and when there is none left, its last status is told and it is taken out of the API. Called again, it
// can only shorten the grace period.
func (p *provider) release(pod *corev1.Pod) {
	w := p.worker(pod.UID)
	switch {
	case w != nil && !w.isDone():
		w.end(nil, w.grace(pod.DeletionGracePeriodSeconds)) // work comes back here
	case w != nil:
		go p.remove(pod, &w.last)
	case !isOver(pod.Status.Phase):
		last := lost(pod, metav1.Now())
		go p.remove(pod, &last)
	default:
		go p.remove(pod, nil)
	}
}

// forget ends what is left of a pod that is no longer in the API, and its files with it.
func (p *provider) forget(pod *corev1.Pod) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.workers[pod.UID]
	if w == nil {
		p.pods.remove(string(pod.UID))
		return
	}
	delete(p.workers, pod.UID)
	w.end(nil, 0)
	go func() {
		<-w.done
		p.pods.remove(string(pod.UID))
	}()
}

// shutdown ends every process, within the grace given. Nothing is reported: at the next start the node
// finds these pods without processes and says so, exactly as after a crash.
func (p *provider) shutdown(grace time.Duration) {
	p.mu.Lock()
	p.closed = true
	workers := make([]*worker, 0, len(p.workers))
	for _, w := range p.workers {
		workers = append(workers, w)
	}
	p.mu.Unlock()
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

func (p *provider) closing() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// lookup finds a pod of this node in the cache.
func (p *provider) lookup(namespace, name string) (*corev1.Pod, bool) {
	pod, err := p.informer.Lister().Pods(namespace).Get(name)
	return pod, err == nil
}

// worker is the one that runs a pod, or nil.
func (p *provider) worker(uid types.UID) *worker {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.workers[uid]
}

// withStatus is a copy of the pod with another status.
func withStatus(pod *corev1.Pod, status corev1.PodStatus) *corev1.Pod {
	result := pod.DeepCopy()
	result.Status = status
	return result
}
