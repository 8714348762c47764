package validate

import (
	"maps"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// claiming is a network with the annotation plexus-cni.io/claim.
func claiming(name, claim, config string) string {
	return nad(name+"\n  annotations:\n    plexus-cni.io/claim: "+claim, config)
}

// withClaims gives a pod of selects these claims.
func withClaims(pod, claims string) string {
	return strings.Replace(pod, "---\n", "spec:\n  resourceClaims: "+claims+"\n---\n", 1)
}

const (
	uplink   = `[{name: uplink, resourceClaimTemplateName: vf}]`
	template = "apiVersion: resource.k8s.io/v1\nkind: ResourceClaimTemplate\nmetadata: {name: vf}\nspec: {spec: {devices: {requests: [{name: port, exactly: {deviceClassName: vf}}, {name: nic, firstAvailable: [{name: fast}]}]}}}\n---\n"
	direct   = "apiVersion: resource.k8s.io/v1beta2\nkind: ResourceClaim\nmetadata: {name: shared}\nspec: {devices: {requests: [{name: port}]}}\n---\n"
)

func elementOf(claim string) string {
	return selects(`[{"name": "a", "plexus-cni.io/claim": ` + claim + `}]`)
}

// claimCases are cases of TestRules.
var claimCases = map[string][]string{
	"claim: not written so":             {claiming("a", "⟦claim⟧uplink/", bridge(""))},
	"claim: no name, in quotes":         {claiming("a", "'⟦claim⟧Up_Link/port'", bridge(""))},
	"claim: a list":                     {claiming("a", "⟦object⟧[uplink]", bridge(""))},
	"claim: hides nothing":              {claiming("a", "⟦claim⟧a/b/c/d", `{"type": ⟦config⟧"../x"}`)},
	"claim: none":                       {claiming("a", `""`, bridge("")) + selects("a")},
	"claim: of an element, not so":      {elementOf(`⟦annotation⟧"uplink/"`)},
	"claim: beside a deviceID":          {selects(`[{"name": "a", "deviceID": "x", "plexus-cni.io/claim": ⟦annotation⟧"uplink"}]`)},
	"claim: the pod has none":           {nad("a", bridge("")) + elementOf(`⟦claim⟧"uplink"`)},
	"claim: another":                    {nad("a", bridge("")) + withClaims(elementOf(`⟦claim⟧"downlink/port"`), uplink)},
	"claim: of the network":             {claiming("a", "uplink", bridge("")) + selects("⟦claim⟧a")},
	"claim: of the network, in JSON":    {claiming("a", "vf", bridge("")) + withClaims(selects(`[{"name": "b"}, ⟦claim⟧{"name": "a"}]`), uplink), nad("b", bridge(""))},
	"claim: of the default":             {claiming("a\n  namespace: kube-system", "gone", bridge("")) + "kind: Pod\nmetadata:\n  name: a\n  annotations:\n    v1.multus-cni.io/default-network: ⟦claim⟧a\n"},
	"claim: the element's comes first":  {claiming("a", "gone", bridge("")) + withClaims(elementOf(`"uplink"`), uplink)},
	"claim: a deviceID comes first":     {claiming("a", "gone", bridge("")) + selects(`[{"name": "a", "deviceID": "x"}]`)},
	"claim: by the object's name":       {nad("a", bridge("")) + withClaims(elementOf(`"shared/port"`), `[{name: up, resourceClaimName: shared}]`) + direct},
	"claim: request":                    {nad("a", bridge("")) + withClaims(elementOf(`⟦claim⟧"uplink/gate"`), uplink) + template},
	"claim: request of a direct one":    {claiming("a", "up/gate", bridge("")) + direct, withClaims(selects("⟦claim⟧a"), `[{name: up, resourceClaimName: shared}]`)},
	"claim: alternative":                {nad("a", bridge("")) + withClaims(elementOf(`⟦claim⟧"uplink/nic/slow"`), uplink) + template},
	"claim: request is there":           {nad("a", bridge("")) + withClaims(selects(`[{"name": "a", "plexus-cni.io/claim": "uplink/port"}, {"name": "a", "plexus-cni.io/claim": "uplink/nic"}, {"name": "a", "plexus-cni.io/claim": "uplink/nic/fast"}]`), uplink) + template},
	"claim: template of another":        {nad("a", bridge("")) + withClaims(elementOf(`"uplink/gate"`), uplink) + strings.Replace(template, "name: vf", "name: vf, namespace: other", 1)},
	"claim: of a Deployment":            {nad("a", bridge("")) + "kind: Deployment\nmetadata: {name: d}\nspec:\n  template:\n    metadata:\n      annotations:\n        k8s.v1.cni.cncf.io/networks: '[{\"name\": \"a\", \"plexus-cni.io/claim\": ⟦claim⟧\"down\"}, {\"name\": \"a\", \"plexus-cni.io/claim\": \"uplink\"}]'\n    spec:\n      resourceClaims: " + uplink + "\n"},
	"claim: of a CronJob":               {claiming("a", "down", bridge("")) + "kind: CronJob\nmetadata: {name: c}\nspec: {jobTemplate: {spec: {template: {metadata: {annotations: {k8s.v1.cni.cncf.io/networks: ⟦claim⟧a}}, spec: {resourceClaims: " + uplink + "}}}}}\n"},
	"claim: made, as the status says":   {nad("a", bridge("")) + strings.Replace(withClaims(elementOf(`"web-uplink-x7k2p"`), uplink), "\n---", "\nstatus: {resourceClaimStatuses: [{name: uplink, resourceClaimName: web-uplink-x7k2p}]}\n---", 1)},
	"claim: for extended resources":     {nad("a", bridge("")) + strings.Replace(elementOf(`"web-extended"`), "---", "status: {extendedResourceClaimStatus: {resourceClaimName: web-extended}}\n---", 1)},
	"claim: what else is wrong is told": {claiming("a", "uplink", `{"type": "calico"}`) + nad("b", `{"type": "calico"}`) + withClaims(selects(`a,⟦pod⟧b`), uplink)},
	"claim: on a pod":                   {"kind: Pod\nmetadata:\n  name: a\n  annotations:\n    ⟦annotation-key⟧plexus-cni.io/claim: uplink\n"},
}

func init() { maps.Copy(ruleCases, claimCases) }

// A finding about a claim lists what the pod has.
func TestClaimMessages(t *testing.T) {
	for name, tc := range map[string]struct{ text, message, field string }{
		"no claim": {
			nad("a", bridge("")) + withClaims(elementOf(`"down"`), `[{name: uplink, resourceClaimTemplateName: vf}, {name: gpu, resourceClaimName: big}]`),
			"plexus-cni.io/claim down: the pod has no such claim; its spec.resourceClaims has: uplink (ResourceClaimTemplate vf), gpu (ResourceClaim big)",
			"metadata.annotations.k8s.v1.cni.cncf.io/networks: [0].plexus-cni.io/claim",
		},
		"of the network": {
			claiming("a", "down/port", bridge("")) + selects("a"),
			"plexus-cni.io/claim down/port, which network default/a names: the pod has no such claim; its spec.resourceClaims has: none",
			"metadata.annotations.k8s.v1.cni.cncf.io/networks: [0]",
		},
		"no request": {
			nad("a", bridge("")) + withClaims(elementOf(`"uplink/gate"`), uplink) + template,
			"plexus-cni.io/claim uplink/gate: claim uplink (ResourceClaimTemplate vf) has no such request; it has: port, nic, nic/fast",
			"metadata.annotations.k8s.v1.cni.cncf.io/networks: [0].plexus-cni.io/claim",
		},
		"of the claim that the pod calls so": {
			nad("a", bridge("")) + withClaims(elementOf(`"uplink/gate"`), `[{name: other, resourceClaimName: uplink}, {name: uplink, resourceClaimTemplateName: vf}]`) + template,
			"plexus-cni.io/claim uplink/gate: claim uplink (ResourceClaimTemplate vf) has no such request; it has: port, nic, nic/fast",
			"metadata.annotations.k8s.v1.cni.cncf.io/networks: [0].plexus-cni.io/claim",
		},
		"not written so": {
			claiming("a", "uplink/", bridge("")), `annotation plexus-cni.io/claim: "uplink/" is not CLAIM, CLAIM/REQUEST or CLAIM/REQUEST/SUBREQUEST`,
			"metadata.annotations.plexus-cni.io/claim",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Run(t.Context(), []File{{Name: "a.yaml", Data: []byte(tc.text)}}, Options{})
			check.Must(t, err)
			check.Equal(t, "findings", len(r.Findings), 1)
			check.Equal(t, "message", r.Findings[0].Message, tc.message)
			check.Equal(t, "field", r.Findings[0].Field, tc.field)
		})
	}
}
