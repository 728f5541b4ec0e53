package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func ended(code int32) corev1.ContainerStatus {
	return corev1.ContainerStatus{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code}}}
}

func runs() corev1.ContainerStatus {
	return corev1.ContainerStatus{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}
}

func waits() corev1.ContainerStatus {
	return corev1.ContainerStatus{State: waiting("why", "because")}
}

func betweenRuns() corev1.ContainerStatus {
	status := waits()
	status.LastTerminationState = ended(1).State
	return status
}

func TestPhaseFollowsTheContainers(t *testing.T) {
	list := func(statuses ...corev1.ContainerStatus) []corev1.ContainerStatus { return statuses }
	for name, row := range map[string]struct {
		policy        corev1.RestartPolicy
		initial, main []corev1.ContainerStatus
		over          bool
		want          corev1.PodPhase
	}{
		"nothing has started":                            {policy: "Never", main: list(waits()), want: corev1.PodPending},
		"one runs, one waits":                            {policy: "Never", main: list(runs(), waits()), want: corev1.PodPending},
		"one runs, one has failed":                       {policy: "Never", main: list(runs(), ended(1)), want: corev1.PodRunning},
		"all ended well":                                 {policy: "Never", main: list(ended(0), ended(0)), want: corev1.PodSucceeded},
		"one failed and is not tried again":              {policy: "Never", main: list(ended(0), ended(1)), want: corev1.PodFailed},
		"one failed and is tried again":                  {policy: "OnFailure", main: list(ended(1)), want: corev1.PodRunning},
		"one waits for its next run":                     {policy: "OnFailure", main: list(betweenRuns()), want: corev1.PodRunning},
		"always again":                                   {policy: "Always", main: list(ended(0)), want: corev1.PodRunning},
		"ended as a whole before it started":             {policy: "Never", main: list(waits()), over: true, want: corev1.PodFailed},
		"ended as a whole, well":                         {policy: "Always", main: list(ended(0)), over: true, want: corev1.PodSucceeded},
		"ended as a whole, by a signal":                  {policy: "Always", main: list(ended(143)), over: true, want: corev1.PodFailed},
		"an init container runs":                         {policy: "Never", initial: list(runs()), main: list(waits()), want: corev1.PodPending},
		"an init container failed":                       {policy: "Never", initial: list(ended(1)), main: list(waits()), want: corev1.PodFailed},
		"an init container failed and is tried again":    {policy: "OnFailure", initial: list(ended(1)), main: list(waits()), want: corev1.PodPending},
		"the init containers are done, the others start": {policy: "Never", initial: list(ended(0)), main: list(runs()), want: corev1.PodRunning},
	} {
		t.Run(name, func(t *testing.T) {
			if got := phase(row.policy, row.initial, row.main, row.over); got != row.want {
				t.Errorf("got %s, want %s", got, row.want)
			}
		})
	}
}

func TestLostPodHasFailedAndItsRunningContainersEnded(t *testing.T) {
	pod := &corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{runs(), ended(0)}}}
	got := lost(pod, metav1.Now())
	if got.Phase != corev1.PodFailed || got.Reason != reasonNodeRestarted {
		t.Errorf("got %s, %s", got.Phase, got.Reason)
	}
	if first := got.ContainerStatuses[0].State.Terminated; first == nil || first.ExitCode != 137 {
		t.Errorf("the running container is %+v", got.ContainerStatuses[0].State)
	}
	if second := got.ContainerStatuses[1].State.Terminated; second == nil || second.ExitCode != 0 {
		t.Errorf("the finished container is %+v", got.ContainerStatuses[1].State)
	}
}

func TestConditionsKeepTheirTransitionTimeUnlessTheyChange(t *testing.T) {
	early := metav1.NewTime(time.Unix(1000, 0))
	late := metav1.NewTime(time.Unix(2000, 0))
	status := &corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{waits()}}
	before := conditions(status, nil, early)
	status.ContainerStatuses[0].Ready = true
	for _, condition := range conditions(status, before, late) {
		want := early
		if condition.Type == corev1.PodReady || condition.Type == corev1.ContainersReady {
			want = late
		}
		if !condition.LastTransitionTime.Equal(&want) {
			t.Errorf("%s: got %s, want %s", condition.Type, condition.LastTransitionTime, want)
		}
	}
}

func TestImageTableIsReadAgainWhenItChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "images.json")
	table := newImageTable(path)
	if _, err := table.lookup("a:1"); err == nil || !strings.Contains(err.Error(), `"a:1"`) {
		t.Errorf("without a table: %v", err)
	}
	write := func(content string) {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"a:1": {"entrypoint": ["x"]}, "b": {}}`)
	for _, name := range []string{"a:1", "b", "b:latest"} {
		if _, err := table.lookup(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	write(`{"a:1": {"entrypoint": ["y", "z"]}}`)
	if found, err := table.lookup("a:1"); err != nil || len(found.Entrypoint) != 2 {
		t.Errorf("after the change: %v, %v", found, err)
	}
	write(`{`)
	if _, err := table.lookup("a:1"); err == nil {
		t.Error("a table that cannot be read is no error")
	}
}

func TestCommandFollowsTheImageAsInDocker(t *testing.T) {
	from := image{Entrypoint: []string{"entry"}, Env: map[string]string{"A": "image", "B": "image"}}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}}
	environment := []corev1.EnvVar{{Name: "A", Value: "pod"}, {Name: "C", Value: "$(A)-$$(A)"}}
	for name, row := range map[string]struct {
		container corev1.Container
		want      string
	}{
		"nothing said":         {corev1.Container{}, "entry"},
		"arguments":            {corev1.Container{Args: []string{"x"}}, "entry x"},
		"a command":            {corev1.Container{Command: []string{"c"}}, "c"},
		"both, with variables": {corev1.Container{Command: []string{"c"}, Args: []string{"$(A)"}, Env: environment}, "c pod"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := (&resolver{}).resolve(t.Context(), pod, &row.container, from, "/home", "/log")
			if err != nil || strings.Join(got.argv, " ") != row.want {
				t.Errorf("got %q, %v; want %q", got.argv, err, row.want)
			}
		})
	}
	got, err := (&resolver{}).resolve(t.Context(), pod, &corev1.Container{Env: environment}, from, "/home", "/log")
	if err != nil || got.env["A"] != "pod" || got.env["B"] != "image" || got.env["C"] != "pod-$(A)" || got.env[terminationVariable] != "/log" {
		t.Errorf("got %v, %v", got.env, err)
	}
}

func TestSeekLinesFindsTheLastLines(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	for name, row := range map[string]struct {
		content string
		lines   int
		want    string
	}{
		"fewer than asked for":  {"a\nb\n", 5, "a\nb\n"},
		"the last two":          {"a\nb\nc\n", 2, "b\nc\n"},
		"no newline at the end": {"a\nb\nc", 1, "c"},
		"none":                  {"a\n", 0, ""},
		"across blocks":         {"a\n" + long + "\nb\n", 2, long + "\nb\n"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log")
			if err := os.WriteFile(path, []byte(row.content), 0o600); err != nil {
				t.Fatal(err)
			}
			file, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			if err := seekLines(file, row.lines); err != nil {
				t.Fatal(err)
			}
			content := new(strings.Builder)
			if _, err := file.WriteTo(content); err != nil || content.String() != row.want {
				t.Errorf("got %d bytes, want %d", content.Len(), len(row.want))
			}
		})
	}
}

func TestProcessTreeEndsWithItsLeader(t *testing.T) {
	store := &podStore{root: t.TempDir()}
	home, termination, err := store.prepare("uid", "main", nil)
	if err != nil {
		t.Fatal(err)
	}
	logPath := filepath.Join(home, "log")
	c := command{argv: []string{"sh", "-c", "sleep 100 & echo $!"}, dir: home,
		env: map[string]string{"PATH": defaultPath, terminationVariable: termination}}
	p, err := start(c, logPath, filepath.Join(home, "process.json"))
	if err != nil {
		t.Fatal(err)
	}
	<-p.done
	if p.exitCode != 0 {
		t.Errorf("exit code %d", p.exitCode)
	}
	// The child was killed with the group; at most it is still a zombie, which has no environment.
	deadline := time.Now().Add(5 * time.Second)
	for len(marked(terminationVariable+"="+store.root+"/")) > 0 {
		if time.Now().After(deadline) {
			t.Fatal("the child outlived its leader")
		}
	}
}

func TestMissingProgramIsAnError(t *testing.T) {
	_, err := start(command{argv: []string{"no-such-program"}, env: map[string]string{"PATH": defaultPath}, dir: t.TempDir()}, "/dev/null", "/dev/null")
	if err == nil || !strings.Contains(err.Error(), "no-such-program") {
		t.Errorf("got %v", err)
	}
}
