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

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plexus-cni/plexus/types"
)

// errNoAnswer is the error for a server that does not answer.
var errNoAnswer = errors.New("no answer")

// errNoName is the error for a text that no object has as its name.
var errNoName = errors.New("not the name of an object")

// newStatusError makes an error of a Kubernetes Status, or of whatever else a proxy
// answers, which has no reason.
func newStatusError(response *http.Response, body []byte) error {
	answer := &apierrors.StatusError{}
	status := &answer.ErrStatus
	if json.Unmarshal(body, status) != nil || status.Message == "" {
		*status = metav1.Status{Reason: status.Reason, Message: firstLine(body), Details: status.Details}
	}
	status.Code = int32(response.StatusCode)
	if seconds, _ := strconv.ParseInt(response.Header.Get("Retry-After"), 10, 32); seconds > 0 {
		if status.Details == nil {
			status.Details = &metav1.StatusDetails{}
		}
		status.Details.RetryAfterSeconds = max(status.Details.RetryAfterSeconds, int32(seconds))
	}
	return fmt.Errorf("%d %s: %w", response.StatusCode, http.StatusText(response.StatusCode), answer)
}

func firstLine(body []byte) string {
	const enough = 200
	line, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
	return strings.ToValidUTF8(line[:min(len(line), enough)], "")
}

// callError is the error of a call that failed for good.
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

// coded gives err the code to try again later where that may help.
func coded(err error) error {
	if err != nil && (worthRetrying(err) || graphIsBehind(err) || noCredentials(err)) {
		return types.WithCode(types.CodeTryAgainLater, err)
	}
	return err
}

// worthRetrying reports whether the same request may succeed a little later.
func worthRetrying(err error) bool {
	if answer := apierrors.APIStatus(nil); errors.As(err, &answer) {
		return apierrors.IsConflict(err) && !isOwned(err) || apierrors.IsTooManyRequests(err) || answer.Status().Code >= http.StatusInternalServerError
	}
	return unreachable(err)
}

// unreachable reports whether the network or the server failed to answer, and not one side
// refused the certificate of the other.
func unreachable(err error) bool {
	if errors.Is(err, context.Canceled) {
		return false
	}
	var network *net.OpError
	// A refused certificate is an alert of one side.
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

// graphIsBehind reports whether the Node authorizer, which knows pods from a watch, does
// not know one of this node.
func graphIsBehind(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), "no relationship found")
}

// noCredentials reports whether a credential plugin failed, which may succeed later.
func noCredentials(err error) bool {
	return strings.Contains(err.Error(), "getting credentials: ")
}

// withoutURL drops the method and the URL that net/http puts before the reason.
func withoutURL(err error) error {
	var named *url.Error
	if errors.As(err, &named) {
		return named.Err
	}
	return err
}
