package node

import (
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func asking(container corev1.SecurityContext, pod corev1.PodSecurityContext) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "n", UID: "u"},
		Spec:       corev1.PodSpec{SecurityContext: &pod, Containers: []corev1.Container{{Name: "main", SecurityContext: &container}}},
	}
}

func number(value int64) *int64 { return &value }

func TestContainerRunsAsTheUserThatItNamesAndNeverAsRoot(t *testing.T) {
	yes := true
	for name, row := range map[string]struct {
		container   corev1.SecurityContext
		pod         corev1.PodSecurityContext
		want        identity
		wantRefusal string
	}{
		"nothing said":       {want: identity{uid: nobody, gid: nobody, files: nobody}},
		"root":               {container: corev1.SecurityContext{RunAsUser: number(0)}, want: identity{uid: nobody, gid: nobody, files: nobody}},
		"the pod's user":     {pod: corev1.PodSecurityContext{RunAsUser: number(7), RunAsGroup: number(8)}, want: identity{uid: 7, gid: 8, files: 8}},
		"the container's":    {pod: corev1.PodSecurityContext{RunAsUser: number(7)}, container: corev1.SecurityContext{RunAsUser: number(9)}, want: identity{uid: 9, gid: nobody, files: nobody}},
		"groups":             {pod: corev1.PodSecurityContext{FSGroup: number(5), SupplementalGroups: []int64{6}}, want: identity{uid: nobody, gid: nobody, groups: []uint32{6, 5}, files: 5}},
		"not root, unnamed":  {pod: corev1.PodSecurityContext{RunAsNonRoot: &yes}, want: identity{uid: nobody, gid: nobody, files: nobody}},
		"not root, but root": {pod: corev1.PodSecurityContext{RunAsNonRoot: &yes}, container: corev1.SecurityContext{RunAsUser: number(0)}, wantRefusal: `container's runAsUser breaks non-root policy (pod: "p_n(u)", container: main)`},
	} {
		t.Run(name, func(t *testing.T) {
			pod := asking(row.container, row.pod)
			got, err := users{root: true, become: true}.of(pod, &pod.Spec.Containers[0])
			if row.wantRefusal != "" {
				if err == nil || err.Error() != row.wantRefusal {
					t.Errorf("got %v, want %s", err, row.wantRefusal)
				}
				return
			}
			if err != nil || got.uid != row.want.uid || got.gid != row.want.gid || got.files != row.want.files || len(got.groups) != len(row.want.groups) {
				t.Errorf("got %+v, %v, want %+v", got, err, row.want)
			}
		})
	}
}

func TestNodeThatCannotBecomeAnotherUser(t *testing.T) {
	pod := asking(corev1.SecurityContext{RunAsUser: number(int64(os.Geteuid()) + 1)}, corev1.PodSecurityContext{})
	if got, err := (users{}).of(pod, &pod.Spec.Containers[0]); got != nil || err != nil {
		t.Errorf("an ordinary user's node: got %+v, %v", got, err)
	}
	ignored := users{}.ignored(pod, metav1.Now())
	if ignored == nil || ignored.Status != corev1.ConditionTrue || !strings.Contains(ignored.Message, "runAsUser") {
		t.Errorf("it does not say so: %+v", ignored)
	}
	if ignored := (users{}).ignored(asking(corev1.SecurityContext{}, corev1.PodSecurityContext{}), metav1.Now()); ignored != nil {
		t.Errorf("a pod that names no user: %+v", ignored)
	}
	if got, err := (users{root: true}).of(pod, &pod.Spec.Containers[0]); err == nil {
		t.Errorf("root without capabilities: got %+v", got)
	}
}
