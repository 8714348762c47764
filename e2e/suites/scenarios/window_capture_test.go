package scenarios

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plexus-cni/plexus/e2e/harness/cluster"
)

// bind gives a user one of the Roles of window pods.
func (o *onCall) bind(role, user string) {
	o.Helper()
	bindings := o.Client().RbacV1().RoleBindings(plexusNamespace)
	made, err := bindings.Create(o.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{GenerateName: user + "-"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}},
	}, metav1.CreateOptions{})
	o.Must(err)
	o.Cleanup(func() {
		if err := bindings.Delete(context.Background(), made.Name, metav1.DeleteOptions{}); err != nil {
			o.Error(err)
		}
	})
}

// mayCapture gives somebody on call the Role for packets too, and returns once it is in force.
func (o *onCall) mayCapture() {
	o.Helper()
	o.bind("plexus-window-capture", o.Namespace)
	o.Await("the Role for packets", func() error { return o.can("capture", "pods") })
}

// can asks the API server whether somebody on call has a right.
func (o *onCall) can(verb, resource string) error {
	if out, err := o.kubectl("auth", "can-i", verb, resource, "-n", plexusNamespace).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// kubectl is a command of kubectl on the laptop.
func (o *onCall) kubectl(args ...string) *exec.Cmd {
	o.Helper()
	kubectl, err := filepath.Abs(filepath.Join(os.Getenv("PLEXUS_KUBE_BIN"), "kubectl"))
	o.Must(err)
	return exec.Command(kubectl, append([]string{"--kubeconfig", o.kubeconfig}, args...)...)
}

// Packets take a Role of their own, by which a pod is made that others may not use.
func TestE2EWindowCapture(t *testing.T) {
	s := cluster.Shared(t).Scenario(t)
	o := newOnCall(s)
	for i, name := range []string{"a", "b"} {
		s.Pod(name, cluster.On(s.Node(i+1))).AwaitReady()
	}
	probe := []string{"path", s.Namespace + "/a", "-i", "eth0", "to", s.Namespace + "/b", "--probe"}
	o.refused(probe, "a right is missing: this needs capture pods in plexus-system, which the Role plexus-window-capture gives there")
	if pods := o.pods(); len(pods) > 0 {
		t.Errorf("pods were made for who may not capture: %v", pods)
	}
	o.mayCapture()
	o.must("the first probe", probe, "there: arrives", "✓ seen", "answered after")
	captures := o.names()
	o.must("the next probe", probe, "answered after")
	o.must("an inspect by who may capture", []string{"inspect", s.Namespace + "/a"}, "Nothing is wrong.", "/plexus-window-capture-")
	if got := o.names(); len(captures) != 2 || !slices.Equal(got, captures) {
		t.Errorf("the pods are %v, after the first probe they were %v", got, captures)
	}
	o.reads(captures)
}

// reads lets somebody read who may not capture, beside pods that do.
func (o *onCall) reads(captures []string) {
	o.Helper()
	user := o.Namespace + "-reads"
	o.bind("plexus-window", user)
	kubeconfig, err := o.Kubeconfig(user)
	o.Must(err)
	reader := &onCall{o.Scenario, kubeconfig}
	o.Await("the Role of who reads", func() error { return reader.can("create", "pods") })
	reader.must("a snapshot by who may not capture", []string{"snapshot", "--node", "node1"})
	plain := 0
	for _, name := range o.names() {
		if !strings.HasPrefix(name, "plexus-window-capture-") {
			plain++
		}
	}
	if plain != 1 {
		o.Errorf("the pods are %v, want one more, that does not capture", o.names())
	}
	for _, pod := range captures {
		out, err := reader.kubectl("exec", "-n", plexusNamespace, pod, "--", "/opt/plexus/bin/kubectl-plexus", "node", "serve").CombinedOutput()
		if want := "who captures packets must have the right to capture pods"; err == nil || !strings.Contains(string(out), want) {
			o.Errorf("who may not capture, in %s: %v: %s; want %q", pod, err, out, want)
		}
	}
}

// refused runs a command that a right is missing for.
func (o *onCall) refused(args []string, want string) {
	o.Helper()
	_, err := o.run(args...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 || !strings.Contains(err.Error(), want) {
		o.Errorf("got %v, want code 3 and %q", err, want)
	}
}

// names gives the window pods that are there.
func (o *onCall) names() (names []string) {
	o.Helper()
	for name := range o.pods() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
