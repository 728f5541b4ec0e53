package node

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Reasons, as a real node gives them; nodeRestarted is this node's own.
const (
	reasonContainerCreating = "ContainerCreating"
	reasonPodInitializing   = "PodInitializing"
	reasonErrImagePull      = "ErrImagePull"
	reasonImagePullBackOff  = "ImagePullBackOff"
	reasonConfigError       = "CreateContainerConfigError"
	reasonCrashLoop         = "CrashLoopBackOff"
	reasonStartError        = "StartError"
	reasonCompleted         = "Completed"
	reasonError             = "Error"
	reasonDeadline          = "DeadlineExceeded"
	reasonUnknown           = "ContainerStatusUnknown"
	reasonNodeRestarted     = "NodeRestarted"
)

// ending is why a pod as a whole is being ended, other than by its containers' own end.
type ending struct {
	reason, message string
}

// phase follows the rules of a real node: a pod is only over when none of its processes runs or is to run again.
func phase(policy corev1.RestartPolicy, initial, main []corev1.ContainerStatus, over bool) corev1.PodPhase {
	for i := range initial {
		ended := initial[i].State.Terminated
		switch {
		case ended != nil && ended.ExitCode == 0:
			continue
		case over || ended != nil && policy == corev1.RestartPolicyNever:
			return corev1.PodFailed
		}
		return corev1.PodPending
	}
	var running, waiting, failed int
	for i := range main {
		state := main[i].State
		switch {
		case state.Terminated != nil && state.Terminated.ExitCode != 0:
			failed++
		case state.Terminated != nil:
		case state.Running != nil || main[i].LastTerminationState.Terminated != nil:
			running++ // in between two runs counts as running
		default:
			waiting++
		}
	}
	switch {
	case over && running+waiting+failed > 0:
		return corev1.PodFailed
	case waiting > 0:
		return corev1.PodPending
	case running > 0:
		return corev1.PodRunning
	case over || policy == corev1.RestartPolicyNever || policy == corev1.RestartPolicyOnFailure && failed == 0:
		if failed > 0 {
			return corev1.PodFailed
		}
		return corev1.PodSucceeded
	}
	return corev1.PodRunning // about to be started again
}

// podStatus is the pod's status as observed. why is nil unless the pod was ended as a whole; over says
// that nothing of it will run again.
func podStatus(pod *corev1.Pod, since metav1.Time, initial, main []corev1.ContainerStatus, over bool, why *ending) corev1.PodStatus {
	status := corev1.PodStatus{
		Phase:                 phase(pod.Spec.RestartPolicy, initial, main, over),
		HostIP:                loopback,
		HostIPs:               []corev1.HostIP{{IP: loopback}},
		PodIP:                 loopback,
		PodIPs:                []corev1.PodIP{{IP: loopback}},
		StartTime:             &since,
		InitContainerStatuses: initial,
		ContainerStatuses:     main,
		ObservedGeneration:    pod.Generation,
	}
	if why != nil {
		status.Reason, status.Message = why.reason, why.message
		if over && why.reason != "" {
			status.Phase = corev1.PodFailed
		}
	}
	return status
}

// conditions are the pod's conditions for a status; those that did not change keep their transition time.
func conditions(status *corev1.PodStatus, before []corev1.PodCondition, now metav1.Time) []corev1.PodCondition {
	initialized := corev1.ConditionTrue
	for i := range status.InitContainerStatuses {
		if ended := status.InitContainerStatuses[i].State.Terminated; ended == nil || ended.ExitCode != 0 {
			initialized = corev1.ConditionFalse
		}
	}
	ready, reason := corev1.ConditionTrue, ""
	for i := range status.ContainerStatuses {
		if !status.ContainerStatuses[i].Ready {
			ready, reason = corev1.ConditionFalse, "ContainersNotReady"
		}
	}
	switch status.Phase {
	case corev1.PodSucceeded:
		reason = "PodCompleted"
	case corev1.PodFailed:
		reason = "PodFailed"
	}
	result := []corev1.PodCondition{
		{Type: corev1.PodReadyToStartContainers, Status: corev1.ConditionTrue},
		{Type: corev1.PodInitialized, Status: initialized},
		{Type: corev1.ContainersReady, Status: ready, Reason: reason},
		{Type: corev1.PodReady, Status: ready, Reason: reason},
	}
	for i := range result {
		result[i].LastTransitionTime = now
		result[i].ObservedGeneration = status.ObservedGeneration
		for _, old := range before {
			if old.Type == result[i].Type && old.Status == result[i].Status {
				result[i].LastTransitionTime = old.LastTransitionTime
			}
		}
	}
	return result
}

// lost is the status of a pod whose processes went with an earlier run of the node.
func lost(pod *corev1.Pod, now metav1.Time) corev1.PodStatus {
	end := func(before []corev1.ContainerStatus) []corev1.ContainerStatus {
		after := make([]corev1.ContainerStatus, len(before))
		for i := range before {
			before[i].DeepCopyInto(&after[i])
			if after[i].State.Terminated != nil {
				continue
			}
			ended := &corev1.ContainerStateTerminated{
				ExitCode: 137, Reason: reasonUnknown, FinishedAt: now, ContainerID: after[i].ContainerID,
				Message: "the node was restarted and the container's process ended with it",
			}
			if running := after[i].State.Running; running != nil {
				ended.StartedAt = running.StartedAt
			}
			after[i].State = corev1.ContainerState{Terminated: ended}
			setReady(&after[i], false)
		}
		return after
	}
	since := now
	if pod.Status.StartTime != nil {
		since = *pod.Status.StartTime
	}
	why := &ending{reasonNodeRestarted, fmt.Sprintf("node %s was restarted while the pod was on it", pod.Spec.NodeName)}
	status := podStatus(pod, since, end(pod.Status.InitContainerStatuses), end(pod.Status.ContainerStatuses), true, why)
	status.Conditions = conditions(&status, pod.Status.Conditions, now)
	return status
}

// hasRun tells whether any of the pod's containers was ever started, according to the API.
func hasRun(status *corev1.PodStatus) bool {
	for _, list := range [][]corev1.ContainerStatus{status.InitContainerStatuses, status.ContainerStatuses} {
		for i := range list {
			if list[i].State.Waiting == nil || list[i].LastTerminationState.Terminated != nil {
				return true
			}
		}
	}
	return false
}

// isOver tells whether the pod's phase is a final one.
func isOver(phase corev1.PodPhase) bool {
	return phase == corev1.PodSucceeded || phase == corev1.PodFailed
}

// waitingStatuses are the containers of a pod before any of them was started.
func waitingStatuses(containers []corev1.Container, reason string) []corev1.ContainerStatus {
	result := make([]corev1.ContainerStatus, len(containers))
	for i := range containers {
		result[i] = corev1.ContainerStatus{
			Name:  containers[i].Name,
			Image: containers[i].Image,
			State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}},
		}
		setReady(&result[i], false)
	}
	return result
}

// setReady sets a container's readiness. No probe is run: a container that runs is ready.
func setReady(status *corev1.ContainerStatus, ready bool) {
	status.Ready, status.Started = ready, &ready
}
