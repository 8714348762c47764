package types

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCNIArgsOfAnAttachment(t *testing.T) {
	pod := [][2]string{{"K8S_POD_NAMESPACE", "default"}, {"K8S_POD_NAME", "web"}}
	for name, c := range map[string]struct{ runtimes, own, want [][2]string }{
		"none":                      {},
		"the runtime's alone":       {runtimes: pod, want: pod},
		"its own":                   {pod, [][2]string{{"IP", "192.0.2.7"}}, [][2]string{{"IgnoreUnknown", "1"}, pod[0], pod[1], {"IP", "192.0.2.7"}}},
		"its own alone":             {nil, [][2]string{{"MAC", "02:00:00:00:00:07"}}, [][2]string{{"IgnoreUnknown", "1"}, {"MAC", "02:00:00:00:00:07"}}},
		"instead of the runtime's":  {[][2]string{{"IP", "192.0.2.9"}, pod[0], {"IP", "192.0.2.8"}}, [][2]string{{"IP", "192.0.2.7"}}, [][2]string{{"IgnoreUnknown", "1"}, pod[0], {"IP", "192.0.2.7"}}},
		"beside another one":        {[][2]string{{"MAC", "02:00:00:00:00:09"}}, [][2]string{{"IP", "192.0.2.7"}}, [][2]string{{"IgnoreUnknown", "1"}, {"MAC", "02:00:00:00:00:09"}, {"IP", "192.0.2.7"}}},
		"the runtime ignores none":  {[][2]string{{"IgnoreUnknown", "0"}, pod[1]}, [][2]string{{"IP", "192.0.2.7"}}, [][2]string{{"IgnoreUnknown", "1"}, pod[1], {"IP", "192.0.2.7"}}},
		"the runtime, in its words": {runtimes: [][2]string{{"IgnoreUnknown", "true"}}, want: [][2]string{{"IgnoreUnknown", "true"}}},
	} {
		t.Run(name, func(t *testing.T) {
			before := append([][2]string(nil), c.runtimes...)
			sandbox := &Sandbox{Args: c.runtimes}
			if diff := cmp.Diff(c.want, (&Attachment{Args: c.own}).CNIArgs(sandbox)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, sandbox.Args); diff != "" {
				t.Errorf("those of the sandbox changed:\n%s", diff)
			}
		})
	}
}
