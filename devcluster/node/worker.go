package node

import (
	"context"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// worker runs one pod from its arrival on the node to its end. Its containers' goroutines change the
// statuses; one publisher writes what is newest, so that a burst of changes is one request.
type worker struct {
	pod    *corev1.Pod
	images *imageTable
	pods   *podStore
	from   *resolver
	users  users
	since  metav1.Time

	ctx    context.Context // ends when nothing is to be started any more
	cancel context.CancelFunc
	kill   chan struct{} // closed when the grace period is over
	killed sync.Once
	dirty  chan struct{}         // of size one: there is something new to publish
	done   chan struct{}         // closed when the pod is over and everything is published
	before []corev1.PodCondition // the publisher's own

	mu            sync.Mutex
	initial, main []corev1.ContainerStatus
	processes     map[*process]bool
	why           *ending
	over          bool

	last    corev1.PodStatus // the last status; valid after done
	writing sync.Mutex       // held while the API is told a status
	told    bool             // the API knows the last one; guarded by writing
}

func newWorker(pod *corev1.Pod, images *imageTable, pods *podStore, from *resolver, users users) *worker {
	ctx, cancel := context.WithCancel(context.Background())
	first := reasonContainerCreating
	if len(pod.Spec.InitContainers) > 0 {
		first = reasonPodInitializing
	}
	w := &worker{
		pod: pod.DeepCopy(), images: images, pods: pods, from: from, users: users, since: metav1.Now(),
		ctx: ctx, cancel: cancel,
		kill: make(chan struct{}), dirty: make(chan struct{}, 1), done: make(chan struct{}),
		initial: waitingStatuses(pod.Spec.InitContainers, first),
		main:    waitingStatuses(pod.Spec.Containers, first),
		before:  pod.Status.Conditions, processes: map[*process]bool{},
	}
	if pod.Status.StartTime != nil {
		w.since = *pod.Status.StartTime
	}
	return w
}

// run runs the pod and returns when it is over: publish is called with each new status, in order. The
// last one, and no other, is of a final phase, since nothing that comes after a final phase is believed.
func (w *worker) run(publish func(corev1.PodStatus)) {
	defer close(w.done)
	published := make(chan struct{})
	stop := make(chan struct{})
	go func() {
		defer close(published)
		for {
			select {
			case <-w.dirty:
				if status := w.status(); !isOver(status.Phase) {
					publish(status)
				}
			case <-stop:
				w.last = w.status()
				publish(w.last)
				return
			}
		}
	}()
	if seconds := w.pod.Spec.ActiveDeadlineSeconds; seconds != nil {
		left := time.Until(w.since.Add(time.Duration(*seconds) * time.Second))
		timer := time.AfterFunc(left, func() {
			w.end(&ending{reasonDeadline, "Pod was active on the node longer than the specified deadline"}, w.grace(nil))
		})
		defer timer.Stop()
	}

	if w.runInitContainers() {
		var group sync.WaitGroup
		for i := range w.pod.Spec.Containers {
			group.Go(func() {
				w.runContainer(&slot{worker: w, spec: &w.pod.Spec.Containers[i], status: &w.main[i]})
			})
		}
		group.Wait()
	}
	w.mu.Lock()
	w.over = true
	w.mu.Unlock()
	w.cancel()
	close(stop)
	<-published
}

// runInitContainers runs them in order, each to its success, and tells whether all came to that.
// A sidecar (an init container that is to run alongside the others) is refused: it waits and says so.
func (w *worker) runInitContainers() bool {
	for i := range w.pod.Spec.InitContainers {
		s := &slot{worker: w, spec: &w.pod.Spec.InitContainers[i], status: &w.initial[i], initial: true}
		if policy := s.spec.RestartPolicy; policy != nil && *policy == corev1.ContainerRestartPolicyAlways {
			s.wait(reasonConfigError, "this node does not run sidecar containers")
			<-w.ctx.Done()
			return false
		}
		if !w.runContainer(s) {
			return false
		}
	}
	return w.ctx.Err() == nil
}

// end ends the pod: SIGTERM now, SIGKILL after the grace period, and nothing is started again. Called
// again, it can only shorten the time left. why is nil where the containers' own end tells all.
func (w *worker) end(why *ending, grace time.Duration) {
	w.mu.Lock()
	first := w.ctx.Err() == nil
	if first {
		w.why = why
		w.cancel()
		for p := range w.processes {
			p.kill(syscall.SIGTERM)
		}
	}
	w.mu.Unlock()
	if grace <= 0 {
		w.killed.Do(func() { close(w.kill) })
		return
	}
	timer := time.AfterFunc(grace, func() { w.killed.Do(func() { close(w.kill) }) })
	go func() {
		<-w.done
		timer.Stop()
	}()
}

// isDone tells whether the pod is over.
func (w *worker) isDone() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// grace is the time between SIGTERM and SIGKILL: the deletion's own if there is one, else the pod's.
func (w *worker) grace(asked *int64) time.Duration {
	seconds := int64(corev1.DefaultTerminationGracePeriodSeconds)
	if w.pod.Spec.TerminationGracePeriodSeconds != nil {
		seconds = *w.pod.Spec.TerminationGracePeriodSeconds
	}
	if asked != nil {
		seconds = *asked
	}
	return time.Duration(seconds) * time.Second
}

// change changes a container's status and has it published.
func (w *worker) change(apply func()) {
	w.mu.Lock()
	apply()
	w.mu.Unlock()
	select {
	case w.dirty <- struct{}{}:
	default: // the publisher will see this one too
	}
}

// observe is the pod's status as of now, without conditions.
func (w *worker) observe() corev1.PodStatus {
	w.mu.Lock()
	defer w.mu.Unlock()
	status := podStatus(w.pod, w.since, w.initial, w.main, w.over, w.why)
	return *status.DeepCopy()
}

// status is the pod's whole status as of now. The publisher alone calls it.
func (w *worker) status() corev1.PodStatus {
	status := w.observe()
	status.Conditions = conditions(&status, w.before, metav1.Now())
	if ignored := w.users.ignored(w.pod, w.since); ignored != nil {
		status.Conditions = append(status.Conditions, *ignored)
	}
	w.before = status.Conditions
	return status
}

// add registers a process to be ended with the pod, unless the pod is being ended already: then the
// process is told at once, as it missed the signal to all.
func (w *worker) add(p *process) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.processes[p] = true
	if w.ctx.Err() != nil {
		p.kill(syscall.SIGTERM)
	}
}

// remove forgets a process that has ended.
func (w *worker) remove(p *process) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.processes, p)
}
