package node

import (
	"context"
	"runtime"

	vk "github.com/virtual-kubelet/virtual-kubelet/node"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/component-base/version"
)

// loopback is the address of the node and of every pod: nothing here is meant to be reached from elsewhere.
const loopback = "127.0.0.1"

// alwaysUp is the node controller's view of this node: it is there for as long as the process is.
type alwaysUp struct{ vk.NaiveNodeProvider }

// NotifyNodeStatus does nothing, as the node's status never changes.
func (alwaysUp) NotifyNodeStatus(context.Context, func(*corev1.Node)) {}

// register creates or takes over the Node object and keeps its status and lease fresh.
func register(ctx context.Context, client kubernetes.Interface, node *corev1.Node) error {
	leases := client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	controller, err := vk.NewNodeController(alwaysUp{}, node, client.CoreV1().Nodes(), vk.WithNodeEnableLeaseV1(leases, vk.DefaultLeaseDuration))
	if err != nil {
		return err
	}
	return controller.Run(ctx)
}

// nodeObject describes the node: large on paper, since no limit is enforced and no test should meet one.
func nodeObject(name string, port int) *corev1.Node {
	now := metav1.Now()
	condition := func(kind corev1.NodeConditionType, status corev1.ConditionStatus, reason, message string) corev1.NodeCondition {
		return corev1.NodeCondition{
			Type: kind, Status: status, Reason: reason, Message: message,
			LastHeartbeatTime: now, LastTransitionTime: now,
		}
	}
	capacity := corev1.ResourceList{
		corev1.ResourceCPU:              resource.MustParse("64"),
		corev1.ResourceMemory:           resource.MustParse("256Gi"),
		corev1.ResourceEphemeralStorage: resource.MustParse("1Ti"),
		corev1.ResourcePods:             resource.MustParse("1000"),
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: name,
			Labels: map[string]string{
				corev1.LabelHostname:   name,
				corev1.LabelOSStable:   "linux", // what manifests ask for, whatever machine this is
				corev1.LabelArchStable: runtime.GOARCH,
			},
		},
		Status: corev1.NodeStatus{
			Capacity:    capacity,
			Allocatable: capacity,
			Conditions: []corev1.NodeCondition{
				condition(corev1.NodeReady, corev1.ConditionTrue, "NodeReady", "the node runs pods as local processes"),
				condition(corev1.NodeMemoryPressure, corev1.ConditionFalse, "NotMeasured", "memory is not measured"),
				condition(corev1.NodeDiskPressure, corev1.ConditionFalse, "NotMeasured", "disk space is not measured"),
				condition(corev1.NodePIDPressure, corev1.ConditionFalse, "NotMeasured", "processes are not counted"),
			},
			Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeInternalIP, Address: loopback},
				{Type: corev1.NodeHostName, Address: name},
			},
			DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: int32(port)}}, //nolint:gosec // a port
			NodeInfo: corev1.NodeSystemInfo{
				KubeletVersion:          version.Get().GitVersion,
				ContainerRuntimeVersion: "process://1",
				OperatingSystem:         runtime.GOOS,
				Architecture:            runtime.GOARCH,
				OSImage:                 "local processes",
			},
		},
	}
}
