package faultproxy

import (
	"net/http/httptest"
	"testing"
)

func TestKubeProxyParsesRequests(t *testing.T) {
	for _, test := range []struct {
		method, url                     string
		verb, resource, namespace, name string
	}{
		{"GET", "/api/v1/namespaces/a/pods/p", "get", "pods", "a", "p"},
		{"GET", "/api/v1/namespaces/a/pods", "list", "pods", "a", ""},
		{"GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1", "list", "pods", "", ""},
		{"GET", "/api/v1/pods?watch=true", "watch", "pods", "", ""},
		{"GET", "/api/v1/pods?watch=1", "watch", "pods", "", ""},
		{"PATCH", "/api/v1/namespaces/a/pods/p/status?fieldManager=x", "patch", "pods/status", "a", "p"},
		{"POST", "/api/v1/namespaces/a/events", "create", "events", "a", ""},
		{"PUT", "/api/v1/nodes/n1", "update", "nodes", "", "n1"},
		{"DELETE", "/api/v1/namespaces/a/pods/p", "delete", "pods", "a", "p"},
		{"DELETE", "/api/v1/namespaces/a/pods", "deletecollection", "pods", "a", ""},
		{"GET", "/api/v1/namespaces", "list", "namespaces", "", ""},
		{"GET", "/api/v1/namespaces/a", "get", "namespaces", "a", "a"},
		{"PATCH", "/api/v1/namespaces/a/status", "patch", "namespaces/status", "a", "a"},
		{
			"GET", "/apis/k8s.cni.cncf.io/v1/namespaces/a/network-attachment-definitions/n",
			"get", "network-attachment-definitions", "a", "n",
		},
		{
			"GET", "/apis/k8s.cni.cncf.io/v1/network-attachment-definitions",
			"list", "network-attachment-definitions", "", "",
		},
		{"GET", "/api/v1", "", "", "", ""},
		{"GET", "/apis/k8s.cni.cncf.io/v1", "", "", "", ""},
		{"GET", "/readyz", "", "", "", ""},
		{"GET", "/", "", "", "", ""},
	} {
		r := parseRequest(httptest.NewRequest(test.method, test.url, nil))
		got := [4]string{r.Verb, r.Resource, r.Namespace, r.Name}
		want := [4]string{test.verb, test.resource, test.namespace, test.name}
		if got != want {
			t.Errorf("%s %s: got %q, want %q", test.method, test.url, got, want)
		}
	}
}
