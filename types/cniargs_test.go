package types

import (
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

func TestParseArgs(t *testing.T) {
	for _, tc := range []struct {
		name, args string
		want       [][2]string
	}{
		{"none", "", nil},
		{"in order, as they are", "B= 2 ;A=1", [][2]string{{"B", " 2 "}, {"A", "1"}}},
		{"an empty value", "A=", [][2]string{{"A", ""}}},
		{"a value with =", "A=b=c", [][2]string{{"A", "b=c"}}},
		{"the same key twice", "A=1;A=2", [][2]string{{"A", "1"}, {"A", "2"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := ParseArgs(tc.args)
			if err != nil {
				t.Fatal(err)
			}
			wantEqual(t, tc.want, got)
		})
	}
}

func TestParseArgsRefused(t *testing.T) {
	for args, piece := range map[string]string{"A=1;B": `"B"`, "A=1;": `""`, "=1": `"=1"`, ";A=1": `""`} {
		t.Run(args, func(t *testing.T) {
			_, err := ParseArgs(args)
			check.Error(t, err, "CNI_ARGS: "+piece+" is not KEY=value")
			if code := CodeOf(err, 0); code != CodeInvalidEnv {
				t.Errorf("code %d, want %d", code, CodeInvalidEnv)
			}
		})
	}
}

func TestPodFromArgs(t *testing.T) {
	for _, tc := range []struct {
		name, args string
		want       Pod
		text       string
	}{
		{
			"as containerd calls", "IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=pod;K8S_POD_INFRA_CONTAINER_ID=c;K8S_POD_UID=u",
			Pod{Namespace: "ns", Name: "pod", UID: "u"},
			"ns/pod",
		},
		{"no UID", "K8S_POD_NAMESPACE=ns;K8S_POD_NAME=pod", Pod{Namespace: "ns", Name: "pod"}, "ns/pod"},
		{"the last one counts", "K8S_POD_NAMESPACE=a;K8S_POD_NAME=pod;K8S_POD_NAMESPACE=b", Pod{Namespace: "b", Name: "pod"}, "b/pod"},
		{"no name", "K8S_POD_NAMESPACE=ns;K8S_POD_UID=u", Pod{Namespace: "ns", UID: "u"}, "ns/(no name)"},
		{"as podman calls", "IgnoreUnknown=1;K8S_POD_NAME=pod", Pod{Name: "pod"}, "pod"},
		{"an empty namespace", "K8S_POD_NAMESPACE=;K8S_POD_NAME=pod", Pod{Name: "pod"}, "pod"},
		{"both are empty", "K8S_POD_NAMESPACE=;K8S_POD_NAME=;K8S_POD_UID=u", Pod{}, "(no pod)"},
		{"no arguments", "", Pod{}, "(no pod)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args, err := ParseArgs(tc.args)
			if err != nil {
				t.Fatal(err)
			}
			pod := PodFromArgs(args)
			wantEqual(t, tc.want, pod)
			whole, some := tc.want.Name != "" && tc.want.Namespace != "", tc.want.Name+tc.want.Namespace != ""
			if pod.String() != tc.text || pod.Known() != whole || pod.IsHalfKnown() != (some && !whole) {
				t.Errorf("it is %q, known %v, by half %v", pod.String(), pod.Known(), pod.IsHalfKnown())
			}
		})
	}
}
