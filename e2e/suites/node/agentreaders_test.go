package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plexus-cni/plexus/e2e/harness/kube/faultproxy"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/pki"
)

// grant binds an account of the agent's namespace to a ClusterRole with a rule, until the test ends.
func (n *node) grant(name, account string, rules ...rbacv1.PolicyRule) {
	n.t.Helper()
	rbac := n.cluster.Client().RbacV1()
	_, err := rbac.ClusterRoles().Create(n.t.Context(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules}, metav1.CreateOptions{})
	check.Must(n.t, err)
	_, err = rbac.ClusterRoleBindings().Create(n.t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: agentNamespace, Name: account}},
	}, metav1.CreateOptions{})
	check.Must(n.t, err)
	n.t.Cleanup(func() {
		for _, err := range []error{
			rbac.ClusterRoleBindings().Delete(context.Background(), name, metav1.DeleteOptions{}),
			rbac.ClusterRoles().Delete(context.Background(), name, metav1.DeleteOptions{}),
		} {
			check.Must(n.t, err)
		}
	})
}

// TestKubeAgentReaders asks an agent for its metrics with tokens of the API server: of an account
// that may read them, of one that may not, and of nobody. The agent has the rights of the chart.
func TestKubeAgentReaders(t *testing.T) {
	n := newNode(t)
	authority := pki.New(t)
	certificate, key := authority.Issue(t, t.TempDir(), "agent")
	kubeconfig := n.agentKubeconfig()
	a := n.startAgent(kubeconfig, "--metrics-tls-cert", certificate, "--metrics-tls-key", key, "--metrics-authentication")
	client := &http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: authority.Pool(), MinVersion: tls.VersionTLS12},
	}}
	ask := func(path, token string) (int, string, error) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+a.address+path, nil)
		if err != nil {
			return 0, "", err
		}
		if token != "" {
			request.Header.Set("Authorization", "Bearer "+token)
		}
		response, err := client.Do(request)
		if err != nil {
			return 0, "", err
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		return response.StatusCode, string(text), err
	}
	expect := func(what, token string, status int, body string) {
		t.Helper()
		n.await(what, func() error {
			got, text, err := ask("/metrics", token)
			if err == nil && (got != status || !strings.Contains(text, body)) {
				err = fmt.Errorf("got %d %.200q, want %d %q", got, text, status, body)
			}
			return err
		})
	}
	n.await("the agent to be ready", func() error { // the kubelet has no token
		status, text, err := ask("/readyz", "")
		if err == nil && status != http.StatusOK {
			err = errors.New(text)
		}
		return err
	})
	token := func(account string) string {
		t.Helper()
		text, err := n.cluster.ServiceAccountToken(t.Context(), agentNamespace, account, nil)
		check.Must(t, err)
		return text
	}
	reader, tenant := token("reader"), token("tenant")
	n.grant("test-metrics-reader", "reader", rbacv1.PolicyRule{NonResourceURLs: []string{"/metrics"}, Verbs: []string{"get"}})

	expect("the agent without the right to ask", reader, http.StatusServiceUnavailable, "its log says why")
	check.Contains(t, "the log", a.logged(), "cannot be checked", "tokenreviews")
	n.grant("test-reviews", agentAccount,
		rbacv1.PolicyRule{APIGroups: []string{"authentication.k8s.io"}, Resources: []string{"tokenreviews"}, Verbs: []string{"create"}},
		rbacv1.PolicyRule{APIGroups: []string{"authorization.k8s.io"}, Resources: []string{"subjectaccessreviews"}, Verbs: []string{"create"}})
	expect("an account that may", reader, http.StatusOK, "plexus_build_info{")
	expect("an account that may not", tenant, http.StatusForbidden, "system:serviceaccount:"+agentNamespace+":tenant may not get")
	expect("no token", "", http.StatusUnauthorized, "need a bearer token")
	expect("a token of nobody", reader[:len(reader)-8]+"AAAAAAAA", http.StatusUnauthorized, "does not accept")

	n.proxy.Inject(faultproxy.Fault{Reset: true})
	expect("an outage", token("late"), http.StatusServiceUnavailable, "its log says why")
	if logged := a.logged(); strings.Contains(logged, reader) || strings.Contains(logged, tenant) {
		t.Error("the log has a token")
	}
}
