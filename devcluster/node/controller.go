package node

import (
	"context"
	"fmt"
	"log"
	"time"

	vklog "github.com/virtual-kubelet/virtual-kubelet/log"
	vk "github.com/virtual-kubelet/virtual-kubelet/node"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	corev1informers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
)

// syncWorkers is how many pods each of the controller's queues handles at a time. A worker is busy for as
// long as one request takes.
const syncWorkers = 50

// The delays of the controller's queues: the first is met by every pod, so it is next to nothing.
const (
	retryFirst = time.Millisecond
	retryMost  = 5 * time.Second
)

// run has virtual-kubelet's pod controller follow this node's pods until ctx ends.
func (p *provider) run(ctx context.Context) error {
	controller, err := newPodController(p)
	if err != nil {
		return err
	}
	informer := p.informer.Informer()
	_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{DeleteFunc: func(object any) {
		if pod, ok := object.(*corev1.Pod); ok {
			p.forget(pod)
		}
	}})
	if err != nil {
		return err
	}
	go informer.RunWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return nil
	}
	// Before the controller starts: no pod of this run has files yet.
	keep := map[string]bool{}
	for _, object := range informer.GetStore().List() {
		keep[string(object.(*corev1.Pod).UID)] = true
	}
	p.pods.prune(keep)
	return controller.Run(ctx, syncWorkers)
}

func newPodController(p *provider) (*vk.PodController, error) {
	// The controller insists on informers for what an environment may refer to, and with
	// SkipDownwardAPIResolution it never reads them. These are never started, so they cost nothing. The
	// resolver reads Secrets and ConfigMaps itself: it waits for one that is late, where the controller
	// would try twenty times and forget the pod.
	unused := informers.NewSharedInformerFactory(p.client, 0).Core().V1()
	// The default limiter lets ten pods a second pass, and the default retry gives up after twenty times:
	// a pod's end would never be told if the API server was away for long.
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[any]
	retry := func(context.Context, string, int, time.Time, error) (*time.Duration, error) { return nil, nil }
	return vk.NewPodController(vk.PodControllerConfig{
		PodClient:                 podClient{p.client.CoreV1(), p},
		PodInformer:               p.informer,
		Provider:                  p,
		SkipDownwardAPIResolution: true,
		ConfigMapInformer:         unused.ConfigMaps(),
		SecretInformer:            unused.Secrets(),
		ServiceInformer:           unused.Services(),
		// One event for each pod says that it was created here, which its status says as well.
		EventRecorder: &record.FakeRecorder{},

		SyncPodsFromKubernetesRateLimiter:        limiter(retryFirst, retryMost),
		SyncPodsFromKubernetesShouldRetryFunc:    retry,
		DeletePodsFromKubernetesRateLimiter:      limiter(retryFirst, retryMost),
		DeletePodsFromKubernetesShouldRetryFunc:  retry,
		SyncPodStatusFromProviderRateLimiter:     limiter(retryFirst, retryMost),
		SyncPodStatusFromProviderShouldRetryFunc: retry,
	})
}

// steadyPods is the pod informer without the two events that the pod controller takes no notice of, both
// of what happened while the watch was interrupted: a pod that is gone comes as a tombstone, and a pod
// that was replaced by a namesake comes as an update. They become an ordinary deletion, and one followed
// by an addition.
type steadyPods struct{ corev1informers.PodInformer }

// Informer is the informer itself.
func (s steadyPods) Informer() cache.SharedIndexInformer {
	return steadyInformer{s.PodInformer.Informer()}
}

type steadyInformer struct{ cache.SharedIndexInformer }

// AddEventHandler adds a handler that is told additions, updates and deletions of whole pods.
func (s steadyInformer) AddEventHandler(handler cache.ResourceEventHandler) (cache.ResourceEventHandlerRegistration, error) {
	return s.SharedIndexInformer.AddEventHandler(steadyHandler{handler})
}

type steadyHandler struct{ cache.ResourceEventHandler }

// OnUpdate tells an update, or that one pod went and another came.
func (s steadyHandler) OnUpdate(before, after any) {
	if before.(*corev1.Pod).UID != after.(*corev1.Pod).UID {
		s.ResourceEventHandler.OnDelete(before)
		s.ResourceEventHandler.OnAdd(after, false)
		return
	}
	s.ResourceEventHandler.OnUpdate(before, after)
}

// OnDelete tells a deletion.
func (s steadyHandler) OnDelete(object any) {
	if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = gone.Obj
	}
	s.ResourceEventHandler.OnDelete(object)
}

// warnings is virtual-kubelet's logger: its warnings and errors go to our log, all else to the logger
// underneath, which is virtual-kubelet's own and says nothing.
type warnings struct {
	vklog.Logger
	cause string
}

func (w warnings) Warn(args ...any)                   { w.print(fmt.Sprint(args...)) }
func (w warnings) Warnf(format string, args ...any)   { w.print(fmt.Sprintf(format, args...)) }
func (w warnings) Error(args ...any)                  { w.print(fmt.Sprint(args...)) }
func (w warnings) Errorf(format string, args ...any)  { w.print(fmt.Sprintf(format, args...)) }
func (w warnings) WithField(string, any) vklog.Logger { return w }
func (w warnings) WithFields(vklog.Fields) vklog.Logger {
	return w
}

// WithError keeps the error for what is logged next.
func (w warnings) WithError(err error) vklog.Logger {
	if err != nil {
		w.cause = ": " + err.Error()
	}
	return w
}

func (w warnings) print(text string) {
	log.Printf("virtual-kubelet: %s%s", text, w.cause)
}
