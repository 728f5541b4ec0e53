package node

import (
	"fmt"
	"os"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubernetes/pkg/kubelet/util/format"
	"k8s.io/kubernetes/pkg/securitycontext"
)

// nobody is the user, and the group, of a container that names none or root: no account of this machine owns files
// as that one.
const nobody = 65534

// conditionUserIgnored tells, in a pod's status, that its containers do not run as the user that it names.
const conditionUserIgnored corev1.PodConditionType = "carillon.dev/UserIgnored"

// identity is the user that a container's process becomes. A nil one stays the node's own user.
type identity struct {
	uid, gid uint32
	groups   []uint32
	files    uint32 // the group of the container's own files: fsGroup, if there is one
}

// users decides which user a container runs as. It is never root.
type users struct {
	root   bool // the node is the machine's root
	become bool // the node can become any other user
}

// of is the container's user, by its securityContext and its pod's; nil for a node that cannot become another
// user and is not root. The error is for the pod's status.
func (u users) of(pod *corev1.Pod, container *corev1.Container) (*identity, error) {
	asked := securitycontext.DetermineEffectiveSecurityContext(pod, container)
	uid := value(asked.RunAsUser, nobody)
	if uid == 0 && isTrue(asked.RunAsNonRoot) {
		return nil, fmt.Errorf("container's runAsUser breaks non-root policy (pod: %q, container: %s)", format.Pod(pod), container.Name)
	}
	if !u.become {
		if u.root {
			return nil, fmt.Errorf("the node runs as root, but without the capabilities SETUID, SETGID and CHOWN, and it runs no container as root: give them to it, or start it as another user")
		}
		return nil, nil //nolint:nilnil // the node's own user
	}
	if uid == 0 {
		uid = nobody
	}
	as := &identity{uid: uint32(uid), gid: uint32(value(asked.RunAsGroup, nobody))} //nolint:gosec // checked by the API
	as.files = as.gid
	if of := pod.Spec.SecurityContext; of != nil {
		for _, group := range of.SupplementalGroups {
			as.groups = append(as.groups, uint32(group)) //nolint:gosec // checked by the API
		}
		if of.FSGroup != nil {
			as.files = uint32(*of.FSGroup) //nolint:gosec // checked by the API
			as.groups = append(as.groups, as.files)
		}
	}
	return as, nil
}

// ignored is the condition of a pod that names a user which this node cannot become; nil for other pods.
func (u users) ignored(pod *corev1.Pod, since metav1.Time) *corev1.PodCondition {
	if u.become || u.root {
		return nil
	}
	own := int64(os.Geteuid())
	for i := range pod.Spec.Containers {
		asked := securitycontext.DetermineEffectiveSecurityContext(pod, &pod.Spec.Containers[i]).RunAsUser
		if value(asked, own) != own {
			return &corev1.PodCondition{
				Type: conditionUserIgnored, Status: corev1.ConditionTrue, LastTransitionTime: since, Reason: "NodeIsNotRoot",
				Message: fmt.Sprintf("runAsUser %d is ignored: the node is not root, so containers run as its own user, %d", *asked, own),
			}
		}
	}
	return nil
}

// own gives a file of the container to its user.
func (as *identity) own(path string) error {
	if as == nil {
		return nil
	}
	return os.Lchown(path, int(as.uid), int(as.files))
}

func value(asked *int64, otherwise int64) int64 {
	if asked == nil {
		return otherwise
	}
	return *asked
}
