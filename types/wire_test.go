package types

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/plexus-cni/plexus/internal/test/check"
)

func TestRequestRoundTrip(t *testing.T) {
	for _, tc := range []struct {
		name, want string
		request    *Request
	}{
		{
			"facts", `{"version":1,"facts":{"pod":{"namespace":"ns","name":"p","uid":"u"},"hasAnnotations":true,"networks":[{"namespace":"kube-system","name":"m"}],"multusNamespace":"kube-system","timeout":"1m30s"}}`,
			&Request{Version: 1, Facts: &FactsRequest{
				Pod: Pod{Namespace: "ns", Name: "p", UID: "u"}, HasAnnotations: true, Networks: []Ref{{"kube-system", "m"}},
				MultusNamespace: "kube-system", Timeout: Duration(90 * time.Second),
			}},
		},
		{
			"publish", `{"version":1,"publish":{"pod":{},"status":[{"name":"a","default":true}],"events":[{"type":"Warning","reason":"NetworkAttachFailed","message":"m"}]}}`,
			&Request{Version: 1, Publish: &PublishRequest{
				Status: []NetworkStatus{{Name: "a", Default: true}}, Events: []PodEvent{{Type: EventWarning, Reason: ReasonAttachFailed, Message: "m"}},
			}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			line := mustMarshal(t, tc.request)
			if string(line) != tc.want {
				t.Errorf("encoded as\n%s\nwant\n%s", line, tc.want)
			}
			got, err := ParseRequest(line)
			if err != nil {
				t.Fatal(err)
			}
			wantEqual(t, tc.request, got)
		})
	}
}

// A peer of another build may send fields that this one does not know, and leave out
// those that it does.
func TestReportOfAnotherBuild(t *testing.T) {
	for line, want := range map[string]CallReport{
		`{"command":"DEL","took":"0s","code":7,"error":"why","newer":{"a":[1]}}`: {Command: "DEL", Code: 7, Error: "why"},
		`{"command":"DEL","took":"0s","code":7}`:                                 {Command: "DEL", Code: 7},
	} {
		request, err := ParseRequest([]byte(`{"version":1,"publish":{"pod":{},"newer":1,"report":` + line + `}}`))
		if err != nil {
			t.Fatal(err)
		}
		wantEqual(t, &want, request.Publish.Report)
	}
}

func TestParseRequestRefused(t *testing.T) {
	for _, tc := range []struct{ name, line, word string }{
		{"nothing", ``, "request is not valid"},
		{"an array", `[]`, "request is not valid"},
		{"a bad timeout", `{"version":1,"facts":{"timeout":"soon"}}`, `must be a duration as "90s"`},
		{"no part", `{"version":1}`, `exactly one of "facts", "publish" and "node"`},
		{"two parts", `{"version":1,"facts":{},"publish":{}}`, `exactly one of "facts", "publish" and "node"`},
		{"two others", `{"version":1,"facts":{},"node":true}`, `exactly one of "facts", "publish" and "node"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			request, err := ParseRequest([]byte(tc.line))
			check.Error(t, err, tc.word)
			if request != nil || errors.Is(err, ErrWireVersion) {
				t.Errorf("got %v, %v", request, err)
			}
		})
	}
}

func TestWireVersion(t *testing.T) {
	for _, version := range []string{`0`, `2`, `-1`} {
		_, err := ParseRequest([]byte(`{"version":` + version + `,"facts":{}}`))
		check.Error(t, err, "request of version "+version+", this side speaks 1")
		if !errors.Is(err, ErrWireVersion) {
			t.Errorf("request: %v is not ErrWireVersion", err)
		}
		_, err = ParseResponse([]byte(`{"version":` + version + `,"error":{"message":"m"}}`))
		check.Error(t, err, "response of version "+version+", this side speaks 1")
		if !errors.Is(err, ErrWireVersion) {
			t.Errorf("response: %v is not ErrWireVersion", err)
		}
	}
}

func TestResponseRoundTrip(t *testing.T) {
	for name, want := range map[string]*Response{
		"published": {Version: 1, Published: true},
		"facts": {Version: 1, Facts: &Facts{
			Pod:      Pod{Namespace: "ns", Name: "p", Annotations: map[string]string{AnnotationNetworks: "a"}},
			Networks: []Network{{Ref: Ref{"ns", "a"}, Config: `{"type":"t"}`, ResourceName: "r"}, {Ref: Ref{"ns", "b"}, Missing: true}, {Ref: Ref{"ns", "c"}, Problem: "forbidden", Code: 11}},
			Devices:  map[string][]string{"r": {"d1", "d2"}},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseResponse(mustMarshal(t, want))
			if err != nil {
				t.Fatal(err)
			}
			wantEqual(t, want, got)
		})
	}
}

func TestResponseErrors(t *testing.T) {
	for _, tc := range []struct {
		name string
		err  error
		code uint
	}{
		{"with a code", fmt.Errorf("pod ns/p: %w", Errorf(CodeTryAgainLater, "later")), CodeTryAgainLater},
		{"without", errors.New("disk"), CodeFailed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			response, err := ParseResponse(mustMarshal(t, ErrorResponse(tc.err)))
			var said *WireError
			if response != nil || !errors.As(err, &said) {
				t.Fatalf("got %v, %#v, want a WireError", response, err)
			}
			wantEqual(t, &WireError{Code: tc.code, Message: tc.err.Error()}, said)
			if err.Error() != tc.err.Error() || CodeOf(err, 0) != tc.code {
				t.Errorf("it arrives as %q, code %d", err, CodeOf(err, 0))
			}
		})
	}
	for _, line := range []string{``, `{"version":"1"}`, `{"version":1,"facts":[]}`} {
		_, err := ParseResponse([]byte(line))
		check.Error(t, err, "response is not valid")
	}
}

// TestDurationText: a duration is text on the wire and in the configuration.
func TestDurationText(t *testing.T) {
	if got := string(mustMarshal(t, struct{ D Duration }{Duration(1500 * time.Millisecond)})); got != `{"D":"1.5s"}` {
		t.Errorf("encoded as %s", got)
	}
	var back struct{ D Duration }
	if err := json.Unmarshal([]byte(`{"D":"1.5s"}`), &back); err != nil || back.D != Duration(1500*time.Millisecond) {
		t.Errorf("read back as %v, %v", back.D, err)
	}
}
