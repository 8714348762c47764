package scenarios

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	"github.com/plexus-cni/plexus/e2e/harness/cluster"
	"github.com/plexus-cni/plexus/internal/inspect"
)

const (
	plexusNamespace = "plexus-system"
	windowLabel     = "app.kubernetes.io/component=window"
)

// onCall is somebody with a laptop, who has the two roles of the window pod and no other right.
type onCall struct {
	*cluster.Scenario
	kubeconfig string
}

func newOnCall(s *cluster.Scenario) *onCall {
	s.Helper()
	kubeconfig, err := s.Kubeconfig(s.Namespace)
	s.Must(err)
	o := &onCall{s, kubeconfig}
	user := []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: s.Namespace}}
	_, err = s.Client().RbacV1().RoleBindings(plexusNamespace).Create(s.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: s.Namespace}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "plexus-window"}, Subjects: user,
	}, metav1.CreateOptions{})
	s.Must(err)
	_, err = s.Client().RbacV1().ClusterRoleBindings().Create(s.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: s.Namespace}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "plexus-window"}, Subjects: user,
	}, metav1.CreateOptions{})
	s.Must(err)
	s.Cleanup(o.end)
	s.Await("the rights", func() error {
		_, err := o.run("snapshot", "--node", "nowhere")
		if err != nil && strings.Contains(err.Error(), "the cluster has no such node") {
			return nil
		}
		return fmt.Errorf("an unknown node: %w", err)
	})
	return o
}

// end removes what the other scenarios do not know: they count the pods of the namespace.
func (o *onCall) end() {
	ctx := context.Background()
	err := errors.Join(
		o.Client().RbacV1().RoleBindings(plexusNamespace).Delete(ctx, o.Namespace, metav1.DeleteOptions{}),
		o.Client().RbacV1().ClusterRoleBindings().Delete(ctx, o.Namespace, metav1.DeleteOptions{}),
		o.removePods(),
	)
	if err != nil {
		o.Error(err)
	}
}

func (o *onCall) removePods() error {
	now := int64(0)
	return o.Client().CoreV1().Pods(plexusNamespace).DeleteCollection(context.Background(), metav1.DeleteOptions{GracePeriodSeconds: &now}, metav1.ListOptions{LabelSelector: windowLabel})
}

// run runs kubectl-plexus on the laptop, and gives what it prints.
func (o *onCall) run(args ...string) (string, error) {
	cmd := exec.Command(o.Node(1).Plexus("kubectl-plexus"), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+o.kubeconfig, "HOME="+o.TempDir())
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("kubectl-plexus %s: %w: %s%s", strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String(), err
}

// must runs a command that finds nothing wrong, says how long it took, and holds that it prints some parts.
func (o *onCall) must(what string, args []string, parts ...string) string {
	o.Helper()
	begun := time.Now()
	out, err := o.run(args...)
	o.Must(err)
	o.Logf("%s took %s", what, time.Since(begun).Round(time.Millisecond))
	for _, part := range parts {
		if !strings.Contains(out, part) {
			o.Errorf("%s lacks %q: %s", what, part, out)
		}
	}
	return out
}

func (o *onCall) pods() map[string]corev1.PodPhase {
	o.Helper()
	list, err := o.Client().CoreV1().Pods(plexusNamespace).List(o.Context(), metav1.ListOptions{LabelSelector: windowLabel})
	o.Must(err)
	phases := map[string]corev1.PodPhase{}
	for i := range list.Items {
		phases[list.Items[i].Name] = list.Items[i].Status.Phase
	}
	return phases
}

// From a laptop the networks of a pod are read through a window pod, with the rights of its Role alone.
func TestE2EWindow(t *testing.T) {
	s := cluster.Shared(t).Scenario(t)
	o := newOnCall(s)
	s.Network("mv", cluster.Macvlan(60, 10, 99))
	s.Network("far1", cluster.Macvlan(61, 10, 99)) // of a, and another range for b: host-local knows its own node alone
	s.Network("far2", cluster.Macvlan(61, 100, 199))
	var pods [2]*cluster.Pod
	for i, name := range []string{"a", "b"} {
		pods[i] = s.Pod(name, cluster.On(s.Node(i+1)), cluster.Networks(fmt.Sprintf("mv,far%d", i+1))).AwaitReady()
	}
	a := s.Namespace + "/a"
	first := o.must("the first inspect", []string{"inspect", a}, "node node1, through the window pod "+plexusNamespace+"/plexus-window-", "pod "+a, "Nothing is wrong.", "net0  macvlan", "192.168.60.")
	next := o.must("the next inspect", []string{"inspect", a})
	if firstPod, nextPod := strings.SplitN(first, "\n", 2)[0], strings.SplitN(next, "\n", 2)[0]; firstPod != nextPod {
		t.Errorf("the next one read %q, the first %q", nextPod, firstPod)
	}
	got := o.must("the first get of both nodes", []string{"get", "-A"}, "node1  "+a, "node2  "+s.Namespace+"/b", "eth1")
	if strings.Contains(got, string(inspect.StateUnpublished)) { // the nodes have agents, whose sockets the pods do not see
		t.Errorf("a status that an agent publishes: %s", got)
	}
	o.must("the next get of both nodes", []string{"get", "-A", "--network", s.Namespace + "/mv"}, "node2  "+s.Namespace+"/b")

	out := o.must("a snapshot", []string{"snapshot", "--node", "node2"})
	snapshot, err := inspect.Parse([]byte(out))
	s.Must(err)
	inode, err := snapshot.FindPod(s.Namespace + "/b")
	s.Must(err)
	ns := inspect.NewGraph(snapshot).Namespace(inode)
	if snapshot.Machine.Node != "node2" || len(ns.Routes) == 0 || len(snapshot.Notes) > 0 || !strings.HasPrefix(ns.Paths[0], "/run/netns/") {
		t.Errorf("node %q, %d routes, notes %v, paths %q", snapshot.Machine.Node, len(ns.Routes), snapshot.Notes, ns.Paths)
	}
	for _, what := range []string{"a path over both nodes", "the next path"} {
		o.must(what, []string{"path", a, "-i", "eth0", "to", s.Namespace + "/b"}, "there: arrives", "on node1", "on node2", "back: arrives, by the same interfaces")
	}
	for _, ifName := range []string{"eth0", "net1"} { // whose node is looked up
		address := pods[1].IP(ifName).String()
		o.must("a path to an address of "+ifName, []string{"path", a, "to", address}, "pod "+s.Namespace+"/b "+ifName+" ("+address+")", "there: arrives", "on node2", "back: arrives")
	}
	// What is in no folder of the ConfigMap is not seen, which is no fault.
	o.must("doctor of a node", []string{"doctor", "--node", "node1"}, "node1: nothing is wrong", "not seen", "/var/lib/cni/networks")
	o.oneNodeFails(a)
}

// oneNodeFails adds a node that is not ready: the others are shown all the same, and the code says that
// not all could be read.
func (o *onCall) oneNodeFails(seen string) {
	o.Helper()
	nodes, ctx := o.Client().CoreV1().Nodes(), o.Context()
	_, err := nodes.Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "ghost", Labels: map[string]string{corev1.LabelOSStable: "linux"}}}, metav1.CreateOptions{})
	o.Must(err)
	o.Cleanup(func() { // with the agent that was placed on it
		now := int64(0)
		err := nodes.Delete(context.Background(), "ghost", metav1.DeleteOptions{})
		err = errors.Join(err, o.Client().CoreV1().Pods(plexusNamespace).DeleteCollection(context.Background(), metav1.DeleteOptions{GracePeriodSeconds: &now},
			metav1.ListOptions{FieldSelector: "spec.nodeName=ghost"}))
		if err != nil {
			o.Error(err)
		}
	})
	o.Must(retry.RetryOnConflict(retry.DefaultBackoff, func() error { // controllers write it too
		ghost, err := nodes.Get(ctx, "ghost", metav1.GetOptions{})
		if err != nil {
			return err
		}
		ghost.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionFalse, Reason: "KubeletNotReady", Message: "it is a ghost"}}
		_, err = nodes.UpdateStatus(ctx, ghost, metav1.UpdateOptions{})
		return err
	}))
	out, err := o.run("get", "-A")
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 {
		o.Fatalf("get of a node that is not ready: %v, want code 3", err)
	}
	for text, part := range map[string]string{out: "node1  " + seen, err.Error(): "node ghost: the window pod does not start: the node is not ready: KubeletNotReady: it is a ghost"} {
		if !strings.Contains(text, part) {
			o.Errorf("get of a node that is not ready lacks %q: %s", part, text)
		}
	}
}

// A client that is killed leaves no process on the node after the time of --keep, and no pod after the
// next run.
func TestE2EWindowKilled(t *testing.T) {
	s := cluster.Shared(t).Scenario(t)
	o := newOnCall(s)
	o.must("a snapshot", []string{"snapshot", "--node", "node1", "--keep", "10s"})
	var pod string
	for name := range o.pods() {
		pod = name
	}
	client := o.kubectl("exec", "-i", "-n", plexusNamespace, pod, "--", "/opt/plexus/bin/kubectl-plexus", "node", "serve")
	stdin, err := client.StdinPipe()
	s.Must(err)
	defer stdin.Close()
	s.Must(client.Start())
	s.Await("the client to be served", func() error { return o.processes("node serve", 1) })
	s.Must(client.Process.Kill())
	_ = client.Wait()
	s.Await("nothing to serve the client any more", func() error { return o.processes("node serve", 0) })
	s.Await("the pod to end", func() error { return o.processes("node wait", 0) })
	s.Await("the pod to have ended well", func() error {
		if phase := o.pods()[pod]; phase != corev1.PodSucceeded {
			return fmt.Errorf("it is %s", phase)
		}
		return nil
	})
	o.must("the next run", []string{"snapshot", "--node", "node1"})
	if _, there := o.pods()[pod]; there {
		t.Errorf("the pod %s is still there after the next run: %v", pod, o.pods())
	}
}

// processes holds how many processes of node1 run a command of a window pod.
func (o *onCall) processes(command string, want int) error {
	found := o.Node(1).Glob("/proc/[0-9]*/cmdline")
	got := 0
	for _, path := range found {
		text, err := o.Node(1).ReadFile(path)
		if err == nil && strings.Contains(strings.ReplaceAll(text, "\x00", " "), "/opt/plexus/bin/kubectl-plexus "+command) {
			got++
		}
	}
	if got != want {
		return fmt.Errorf("%d processes run %s, want %d", got, command, want)
	}
	return nil
}

// A right that is missing is named. Without the one that a WebSocket takes it goes by SPDY.
func TestE2EWindowRights(t *testing.T) {
	s := cluster.Shared(t).Scenario(t)
	o := newOnCall(s)
	all := []string{"create pods", "get pods", "list pods", "watch pods", "delete pods", "create pods/exec", "get pods/exec"}
	for missing, want := range map[string]string{
		"create pods": "this needs create pods in plexus-system", "list pods": "this needs list pods in plexus-system", "watch pods": "this needs watch pods in plexus-system",
		"create pods/exec": "this needs create pods/exec in plexus-system", "get pods/exec": "",
	} {
		user := s.Namespace + "-" + strings.NewReplacer(" ", "-", "/", "-").Replace(missing)
		o.bindAllBut(user, all, missing)
		kubeconfig, err := s.Kubeconfig(user)
		s.Must(err)
		less := &onCall{s, kubeconfig}
		s.Await("the answer without "+missing, func() error {
			s.Must(o.removePods()) // one that is there would be used
			_, err := less.run("snapshot", "--node", "node1")
			switch {
			case want == "":
				return err
			case err == nil || !strings.Contains(err.Error(), want):
				return fmt.Errorf("want %q, got %v", want, err) //nolint:errorlint // nil too
			}
			return nil
		})
	}
}

// bindAllBut gives a user the rights of the Role, but one.
func (o *onCall) bindAllBut(user string, all []string, missing string) {
	o.Helper()
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: user}, Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get"}}}}
	for _, right := range slices.DeleteFunc(slices.Clone(all), func(r string) bool { return r == missing }) {
		verb, resource, _ := strings.Cut(right, " ")
		role.Rules = append(role.Rules, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{resource}, Verbs: []string{verb}})
	}
	roles, bindings := o.Client().RbacV1().Roles(plexusNamespace), o.Client().RbacV1().RoleBindings(plexusNamespace)
	_, err := roles.Create(o.Context(), role, metav1.CreateOptions{})
	o.Must(err)
	_, err = bindings.Create(o.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: user}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: user},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}},
	}, metav1.CreateOptions{})
	o.Must(err)
	o.Cleanup(func() {
		err := errors.Join(roles.Delete(context.Background(), user, metav1.DeleteOptions{}), bindings.Delete(context.Background(), user, metav1.DeleteOptions{}))
		if err != nil {
			o.Error(err)
		}
	})
}
