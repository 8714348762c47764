package k8sclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/plexus-cni/plexus/types"
)

// errNoAnswer is the error for a server that says nothing.
var errNoAnswer = errors.New("no answer")

// statusError is an answer of the API server other than success.
type statusError struct {
	code       int
	reason     string
	message    string
	fields     []string // those that a 422 finds fault with
	retryAfter time.Duration
}

func (e *statusError) Error() string {
	return fmt.Sprintf("%d %s: %s", e.code, http.StatusText(e.code), e.message)
}

// newStatusError reads a Kubernetes Status, or whatever else a proxy may answer.
func newStatusError(response *http.Response, body []byte) *statusError {
	var status struct {
		Reason  string `json:"reason"`
		Message string `json:"message"`
		Details struct {
			RetryAfterSeconds int `json:"retryAfterSeconds"`
			Causes            []struct {
				Field string `json:"field"`
			} `json:"causes"`
		} `json:"details"`
	}
	e := &statusError{code: response.StatusCode}
	if json.Unmarshal(body, &status) != nil || status.Message == "" {
		status.Message = firstLine(body)
	}
	e.reason, e.message = status.Reason, status.Message
	for _, cause := range status.Details.Causes {
		e.fields = append(e.fields, cause.Field)
	}
	seconds, _ := strconv.Atoi(response.Header.Get("Retry-After"))
	e.retryAfter = time.Duration(max(seconds, status.Details.RetryAfterSeconds)) * time.Second
	return e
}

func firstLine(body []byte) string {
	const enough = 200
	line, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
	return strings.ToValidUTF8(line[:min(len(line), enough)], "")
}

// callError is a call that failed for good: what was tried, where, how often and for
// how long.
type callError struct {
	what, server string
	attempts     int
	took         time.Duration
	err          error
}

func (e *callError) Error() string {
	if e.attempts == 1 {
		return fmt.Sprintf("%s at %s: %v", e.what, e.server, e.err)
	}
	return fmt.Sprintf("%s at %s: gave up after %d attempts in %s: %v",
		e.what, e.server, e.attempts, e.took.Round(time.Millisecond), e.err)
}

func (e *callError) Unwrap() error { return e.err }

// coded gives err the code for "try again later" if that is what may help.
func coded(err error) error {
	if err != nil && (worthRetrying(err) || graphIsBehind(err) || noCredentials(err)) {
		return types.WithCode(types.CodeTryAgainLater, err)
	}
	return err
}

// worthRetrying tells whether the same request may succeed a little later.
func worthRetrying(err error) bool {
	var answer *statusError
	if errors.As(err, &answer) {
		return answer.code == http.StatusConflict && !alreadyExists(err) ||
			answer.code == http.StatusTooManyRequests || answer.code >= http.StatusInternalServerError
	}
	return unreachable(err)
}

// unreachable tells whether the network or the server is to blame that there was no
// answer, rather than a certificate that one side refuses.
func unreachable(err error) bool {
	if errors.Is(err, context.Canceled) {
		return false
	}
	var network *net.OpError
	// How a refused certificate looks: an alert of one side.
	if errors.As(err, &network) && (network.Op == "remote error" || network.Op == "local error") {
		return false
	}
	var timeout net.Error
	return errors.Is(err, errNoAnswer) || errors.As(err, &network) ||
		errors.As(err, &timeout) && timeout.Timeout() ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		strings.Contains(err.Error(), "http2: ") || strings.Contains(err.Error(), "stream error: ")
}

// graphIsBehind tells whether the Node authorizer, which learns of pods by a watch,
// does not know of one on this node.
func graphIsBehind(err error) bool {
	var answer *statusError
	return errors.As(err, &answer) && answer.code == http.StatusForbidden && strings.Contains(answer.message, "no relationship found")
}

// noCredentials tells whether a credential plugin failed, which may pass.
func noCredentials(err error) bool {
	return strings.Contains(err.Error(), "getting credentials: ")
}

// alreadyExists tells whether an object to be made is there, perhaps by an earlier
// attempt whose answer was lost.
func alreadyExists(err error) bool {
	var answer *statusError
	return errors.As(err, &answer) && answer.reason == "AlreadyExists"
}

func hasCode(err error, code int) bool {
	var answer *statusError
	return errors.As(err, &answer) && answer.code == code
}

// withoutURL drops what net/http says in front of the reason: the method and the URL.
func withoutURL(err error) error {
	var named *url.Error
	if errors.As(err, &named) {
		return named.Err
	}
	return err
}
