// Command nodes pretends to be nodes: what is scheduled onto them runs and is ready at once, and nothing runs. The pods of
// jobs complete at once.
//
//	nodes KUBECONFIG COUNT    ends when its standard input does
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	coordination "k8s.io/api/coordination/v1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

const label = "deployctl.test/simulated"

var (
	client *kubernetes.Clientset
	all    = context.Background()
	// The range for benchmarks: nobody is there.
	address atomic.Uint32
)

func main() {
	config, err := clientcmd.BuildConfigFromFlags("", os.Args[1])
	must(err)
	config.QPS, config.Burst = 1000, 2000
	client, err = kubernetes.NewForConfig(config)
	must(err)
	count, err := strconv.Atoi(os.Args[2])
	must(err)
	mine := map[string]bool{}
	for number := range count {
		name := fmt.Sprintf("simulated-%d", number)
		mine[name] = true
		must(begin(name))
		go renew(name)
	}
	work := make(chan *core.Pod, 10_000)
	for range 16 {
		go func() {
			for pod := range work {
				tend(pod)
			}
		}()
	}
	look := func(object any) {
		if pod, ok := object.(*core.Pod); ok && mine[pod.Spec.NodeName] {
			work <- pod
		}
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	_, err = factory.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    look,
		UpdateFunc: func(_, object any) { look(object) },
	})
	must(err)
	factory.Start(all.Done())
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func begin(name string) error {
	room := core.ResourceList{
		core.ResourceCPU:    resource.MustParse("10000"),
		core.ResourceMemory: resource.MustParse("100Ti"),
		core.ResourcePods:   resource.MustParse("10000"),
	}
	node := &core.Node{
		ObjectMeta: meta.ObjectMeta{Name: name, Labels: map[string]string{label: "true", core.LabelHostname: name}},
		Status: core.NodeStatus{
			Capacity: room, Allocatable: room,
			Conditions: []core.NodeCondition{{Type: core.NodeReady, Status: core.ConditionTrue, Reason: "Simulated"}},
		},
	}
	if _, err := client.CoreV1().Nodes().Create(all, node, meta.CreateOptions{}); err != nil {
		return err
	}
	// A patch, since controllers write to a new node at once: whoever read it before them would be in conflict.
	patch, err := json.Marshal(map[string]any{"status": node.Status})
	if err != nil {
		return err
	}
	_, err = client.CoreV1().Nodes().Patch(all, name, types.StrategicMergePatchType, patch, meta.PatchOptions{}, "status")
	return err
}

func renew(name string) {
	leases := client.CoordinationV1().Leases(core.NamespaceNodeLease)
	seconds := int32(40)
	for ; ; time.Sleep(5 * time.Second) {
		now := meta.NewMicroTime(time.Now())
		lease, err := leases.Get(all, name, meta.GetOptions{})
		if errors.IsNotFound(err) {
			lease = &coordination.Lease{ObjectMeta: meta.ObjectMeta{Name: name}}
			lease.Spec = coordination.LeaseSpec{HolderIdentity: &name, LeaseDurationSeconds: &seconds, RenewTime: &now}
			_, err = leases.Create(all, lease, meta.CreateOptions{})
		} else if err == nil {
			lease.Spec.RenewTime = &now
			_, err = leases.Update(all, lease, meta.UpdateOptions{})
		}
		if err != nil {
			log.Print(err)
		}
	}
}

func tend(pod *core.Pod) {
	pods := client.CoreV1().Pods(pod.Namespace)
	var err error
	if pod.DeletionTimestamp != nil {
		options := meta.NewDeleteOptions(0)
		options.Preconditions = meta.NewUIDPreconditions(string(pod.UID))
		err = pods.Delete(all, pod.Name, *options)
	} else if pod.Status.Phase == core.PodPending {
		patch, _ := json.Marshal(map[string]any{"metadata": map[string]any{"uid": pod.UID}, "status": status(pod)})
		_, err = pods.Patch(all, pod.Name, types.StrategicMergePatchType, patch, meta.PatchOptions{}, "status")
	}
	if err != nil && !errors.IsNotFound(err) && !errors.IsConflict(err) {
		log.Print(err)
	}
}

func status(pod *core.Pod) core.PodStatus {
	now := meta.Now()
	number := address.Add(1)
	status := core.PodStatus{
		Phase: core.PodRunning, StartTime: &now,
		PodIP: fmt.Sprintf("198.18.%d.%d", number/250%256, number%250+1),
	}
	status.PodIPs = []core.PodIP{{IP: status.PodIP}}
	state := core.ContainerState{Running: &core.ContainerStateRunning{StartedAt: now}}
	ready := core.ConditionTrue
	for _, owner := range pod.OwnerReferences {
		if owner.Kind == "Job" {
			status.Phase, ready = core.PodSucceeded, core.ConditionFalse
			state = core.ContainerState{Terminated: &core.ContainerStateTerminated{Reason: "Completed", StartedAt: now, FinishedAt: now}}
		}
	}
	for _, kind := range []core.PodConditionType{core.PodInitialized, core.ContainersReady, core.PodReady} {
		is := ready
		if kind == core.PodInitialized {
			is = core.ConditionTrue
		}
		status.Conditions = append(status.Conditions, core.PodCondition{Type: kind, Status: is, LastTransitionTime: now})
	}
	for _, container := range pod.Spec.Containers {
		status.ContainerStatuses = append(status.ContainerStatuses, core.ContainerStatus{
			Name: container.Name, Image: container.Image, Ready: ready == core.ConditionTrue, State: state,
		})
	}
	return status
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
