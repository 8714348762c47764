package plan

import (
	"errors"
	"testing"
)

// A refusal knows which network it is of, and which key the pod asked for, beside its text.
func TestFaultsKnowTheirPlace(t *testing.T) {
	networks := map[string]string{"default/n": single("bridge"), "default/m": single("macvlan")}
	for name, tc := range map[string]struct {
		annotation, network string
		want                AskedError
	}{
		"no capability":   {`[{"name": "n", "bandwidth": {"ingressRate": 1}}]`, "default/n", AskedError{Key: "bandwidth", Capability: "bandwidth"}},
		"another one":     {`[{"name": "m", "infiniband-guid": "c2:11:22:33:44:55:66:77"}]`, "default/m", AskedError{Key: "infiniband-guid", Capability: "infinibandGUID"}},
		"interface taken": {"n,m@net0", "default/m", AskedError{Key: "interface"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := (&planWorld{config: podnet, annotations: annotated(tc.annotation), networks: networks}).make(t)
			var network *NetworkError
			var asked *AskedError
			if !errors.As(got.err, &network) || !errors.As(got.err, &asked) {
				t.Fatalf("no network or key in %v", got.err)
			}
			if network.Network != tc.network || asked.Key != tc.want.Key || asked.Capability != tc.want.Capability || asked.Problem == "" {
				t.Errorf("network %q, %+v", network.Network, asked)
			}
		})
	}
}
