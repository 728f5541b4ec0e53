package node

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/virtual-kubelet/virtual-kubelet/errdefs"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// aProvider has no API: what it would write there goes to the channel, and any request would panic.
func aProvider(t *testing.T) (*provider, chan *corev1.Pod) {
	t.Helper()
	table := filepath.Join(t.TempDir(), "images.json")
	if err := os.WriteFile(table, []byte(`{"shell": {"entrypoint": ["/bin/sh", "-c"]}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	p := newProvider((*kubernetes.Clientset)(nil), "local", &podStore{root: t.TempDir()}, newImageTable(table), nil)
	told := make(chan *corev1.Pod, 100)
	p.NotifyPods(t.Context(), func(pod *corev1.Pod) { told <- pod })
	t.Cleanup(func() { p.shutdown(0) })
	return p, told
}

// known is a pod that the API has.
func known(t *testing.T, p *provider, uid types.UID, script string) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "pod", UID: uid},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever,
			Containers:    []corev1.Container{{Name: "main", Image: "shell", Args: []string{script}}},
		},
	}
	if err := p.informer.Informer().GetStore().Add(pod); err != nil {
		t.Fatal(err)
	}
	return pod
}

// next is the next pod that was told.
func next(t *testing.T, told chan *corev1.Pod) *corev1.Pod {
	t.Helper()
	select {
	case pod := <-told:
		return pod
	case <-time.After(10 * time.Second):
		t.Fatal("nothing was told")
		return nil
	}
}

func create(t *testing.T, p *provider, pod *corev1.Pod) {
	t.Helper()
	if err := p.CreatePod(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
}

func TestPodThatHasRunBeforeIsReportedLostAndNotRunAgain(t *testing.T) {
	p, told := aProvider(t)
	pod := known(t, p, "one", "true")
	pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{runs()}}
	create(t, p, pod)
	if got := next(t, told).Status; got.Phase != corev1.PodFailed || got.Reason != reasonNodeRestarted {
		t.Errorf("got %s, %s", got.Phase, got.Reason)
	}
	if p.worker("one") != nil {
		t.Error("it was started")
	}
}

func TestPodThatIsGoneIsNotStarted(t *testing.T) {
	p, _ := aProvider(t)
	gone := known(t, p, "one", "true")
	known(t, p, "two", "true") // of the same name
	create(t, p, gone)
	if p.worker("one") != nil {
		t.Error("it was started")
	}
}

func TestPodIsNotTakenForItsNamesake(t *testing.T) {
	p, told := aProvider(t)
	create(t, p, known(t, p, "one", "sleep 1000"))
	next(t, told)
	known(t, p, "two", "true")
	if pod, err := p.GetPod(t.Context(), "default", "pod"); !errdefs.IsNotFound(err) {
		t.Errorf("got %v, %v", pod, err)
	}
}

func TestDeletionWaitsForTheProcesses(t *testing.T) {
	p, told := aProvider(t)
	pod := known(t, p, "one", "trap 'exit 3' TERM; touch up; while true; do sleep 0.01; done")
	create(t, p, pod)
	up := filepath.Join(p.pods.container("one", "main"), "home", "up")
	for deadline := time.Now().Add(10 * time.Second); ; {
		if _, err := os.Stat(up); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it did not start")
		}
	}
	// A request now would panic: there is no API.
	options := metav1.NewDeleteOptions(0)
	options.Preconditions = metav1.NewUIDPreconditions("one")
	if err := (podsOf{namespace: "default", provider: p}).Delete(t.Context(), "pod", *options); err != nil {
		t.Fatal(err)
	}
	got := next(t, told)
	for got.Status.Phase != corev1.PodFailed {
		got = next(t, told)
	}
	if ended := got.Status.ContainerStatuses[0].State.Terminated; ended == nil || ended.ExitCode != 3 {
		t.Errorf("got %+v", got.Status.ContainerStatuses[0].State)
	}
}

func TestOnlyTheLastStatusIsOfAFinalPhase(t *testing.T) {
	p, _ := aProvider(t)
	for range 20 {
		w := newWorker(known(t, p, "one", "exit 0"), p.images, p.pods, p.from, p.users)
		w.why = &ending{reasonDeadline, "too late"} // as if it had ended well on SIGTERM
		var phases []corev1.PodPhase
		w.run(func(status corev1.PodStatus) { phases = append(phases, status.Phase) })
		for i, phase := range phases {
			if last := i == len(phases)-1; last != isOver(phase) || phase == corev1.PodSucceeded {
				t.Fatalf("got %v", phases)
			}
		}
	}
}

func TestTombstonesAndNamesakesComeAsWholePods(t *testing.T) {
	var events []string
	handler := steadyHandler{cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { events = append(events, "add "+string(object.(*corev1.Pod).UID)) },
		UpdateFunc: func(_, object any) { events = append(events, "update "+string(object.(*corev1.Pod).UID)) },
		DeleteFunc: func(object any) { events = append(events, "delete "+string(object.(*corev1.Pod).UID)) },
	}}
	one := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "one"}}
	two := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "two"}}
	handler.OnUpdate(one, one)
	handler.OnUpdate(one, two)
	handler.OnDelete(cache.DeletedFinalStateUnknown{Key: "default/pod", Obj: two})
	want := []string{"update one", "delete one", "add two", "delete two"}
	if len(events) != len(want) {
		t.Fatalf("got %v", events)
	}
	for i := range want {
		if events[i] != want[i] {
			t.Errorf("got %v, want %v", events, want)
		}
	}
}
