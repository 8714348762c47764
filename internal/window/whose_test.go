package window

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// podOfCluster has the name, the node, the address and the phase of a pod, and what is published of it.
type podOfCluster struct{ name, node, ip, phase, published string }

var podsOfCluster = []podOfCluster{
	{"web", "n1", "10.244.0.2", "Running", `[{"name":"shop/lan","interface":"net0","ips":["192.168.50.11","fd00::11"]}]`},
	{"db", "n2", "10.244.1.2", "Running", `[{"name":"shop/lan","interface":"net0","ips":["192.168.50.12"]}]`},
	{"job", "n1", "10.244.1.2", "Succeeded", `[{"ips":["192.168.50.12"]}]`},
	{"old", "n1", "", "Failed", `[{"ips":["192.168.50.40"]}]`},
	{"six", "n2", "fd00:5::7", "Running", ""},
	{"waits", "", "", "Pending", `[{"ips":["192.168.50.30"]}]`},
	{"proxy1", "n1", "10.199.0.11", "Running", ""},
	{"proxy2", "n1", "10.199.0.11", "Running", ""},
	{"twin1", "n1", "", "Running", `[{"ips":["172.16.0.9"]}]`},
	{"twin2", "n2", "", "Running", `[{"ips":["172.16.0.9"]}]`},
	{"odd", "n2", "", "Running", `{"ips": 3`},
}

// clusterOfPods answers as an API server does, a pod a page. It refuses what begins with forbidden.
func clusterOfPods(t *testing.T, forbidden string) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		selector := r.URL.Query().Get("fieldSelector")
		ip, isAsked := strings.CutPrefix(selector, "status.podIP=")
		ip = strings.TrimSuffix(ip, ","+notOver)
		pods := slices.DeleteFunc(slices.Clone(podsOfCluster), func(p podOfCluster) bool {
			return strings.HasSuffix(selector, notOver) && (p.phase == "Succeeded" || p.phase == "Failed")
		})
		switch {
		case forbidden != "" && strings.HasPrefix(r.URL.Path, forbidden):
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"message":"no list pods"}`)
		case r.URL.Path == "/api/v1/nodes":
			check.Equal(t, "which nodes", r.URL.Query().Get("labelSelector"), "kubernetes.io/os=linux") // no other has a window pod
			_, _ = io.WriteString(w, `{"kind":"NodeList","apiVersion":"v1","items":[{"metadata":{"name":"n3"},"status":{"addresses":[{"type":"Hostname","address":"n3"},{"type":"InternalIP","address":"10.199.0.13"}]}}]}`)
		case r.URL.Path == "/api/v1/pods" && isAsked:
			var items []string
			for _, p := range pods {
				if p.ip == ip {
					items = append(items, fmt.Sprintf(`{"metadata":{"namespace":"shop","name":%q},"spec":{"nodeName":%q},"status":{"phase":%q}}`, p.name, p.node, p.phase))
				}
			}
			_, _ = fmt.Fprintf(w, `{"kind":"PodList","apiVersion":"v1","items":[%s]}`, strings.Join(items, ","))
		case r.URL.Path == "/api/v1/pods":
			check.Equal(t, "what is asked for", r.Header.Get("Accept"), annotationsAlone)
			var page int
			_, _ = fmt.Sscan(r.URL.Query().Get("continue"), &page)
			next := ""
			if page+1 < len(pods) {
				next = fmt.Sprint(page + 1)
			}
			p := pods[page]
			_, _ = fmt.Fprintf(w, `{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{"continue":%q},"items":[{"metadata":{"namespace":"shop","name":%q,"annotations":{"k8s.v1.cni.cncf.io/network-status":%q}}}]}`, next, p.name, p.published)
		default:
			name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
			for _, p := range podsOfCluster {
				if p.name == name {
					_, _ = fmt.Fprintf(w, `{"kind":"Pod","apiVersion":"v1","metadata":{"namespace":"shop","name":%q},"spec":{"nodeName":%q}}`, p.name, p.node)
				}
			}
		}
	}))
	t.Cleanup(server.Close)
	return server
}

func TestNodeOfAddress(t *testing.T) {
	for name, test := range map[string]struct {
		address, node string
		forbidden     string
		fails         string
	}{
		"of a pod's eth0":                  {address: "10.244.0.2", node: "n1"},
		"that a pod had which is over":     {address: "10.244.1.2", node: "n2"},
		"of pods of the host's network":    {address: "10.199.0.11", node: "n1"},
		"of a node":                        {address: "10.199.0.13", node: "n3"},
		"of another network":               {address: "192.168.50.12", node: "n2"},
		"of IPv6, written otherwise":       {address: "fd00:0::11", node: "n1"},
		"of a pod that is nowhere yet":     {address: "192.168.50.30", fails: "pod shop/waits: the cluster has not placed it on a node yet"},
		"of eth0, of IPv6":                 {address: "FD00:5:0::7", node: "n2"},
		"that nobody but a failed pod had": {address: "192.168.50.40"},
		"of nobody":                        {address: "192.0.2.9"},
		"of two pods of two networks":      {address: "172.16.0.9", fails: "the pods shop/twin1, shop/twin2 have it: name the one that is meant"},
		"without the right to list pods":   {address: "192.168.50.12", forbidden: "/api/v1/pods", fails: "no list pods"},
		"without the right to list nodes":  {address: "192.168.50.12", forbidden: "/api/v1/nodes", node: "n2"},
		"of nobody who may be asked for":   {address: "192.0.2.9", forbidden: "/api/v1/nodes", fails: "no list pods"},
	} {
		t.Run(name, func(t *testing.T) {
			withCluster(t, false)
			f, _ := command(t)
			f.cluster.APIServer = &clusterOfPods(t, test.forbidden).URL
			node, err := f.nodeOfAddress(t.Context(), test.address)
			if test.fails != "" {
				check.Error(t, err, test.fails)
				return
			}
			check.Must(t, err)
			check.Equal(t, "node", node, test.node)
		})
	}
}

// Whom nobody may ask for is said, and the path is traced as far as it is known.
func TestPathToAnAddressOfAnotherNode(t *testing.T) {
	withCluster(t, false)
	for forbidden, want := range map[string]struct{ node, said string }{
		"":             {"n2", ""},
		"/api/v1/pods": {"", "the node that has 192.168.50.12 is not read: no list pods"},
	} {
		var o pathOptions
		f, cmd := command(t)
		f.cluster.APIServer = &clusterOfPods(t, forbidden).URL
		var said strings.Builder
		cmd.SetErr(&said)
		o.node = *f
		name, err := o.nodeOf(t.Context(), "192.168.50.12", &visited{})
		check.Must(t, err)
		check.Equal(t, "node", name, want.node)
		check.Contains(t, "said", said.String(), want.said)
	}
}
