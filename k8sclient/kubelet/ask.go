package kubelet

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"

	"github.com/plexus-cni/plexus/types"
)

// The methods of the pod-resources API, and where gRPC says how a call ended.
const (
	service       = "/v1.PodResourcesLister/"
	statusHeader  = "Grpc-Status"
	messageHeader = "Grpc-Message"

	frameHeader = 5        // a byte of flags, then the length of the message
	maxAnswer   = 16 << 20 // gRPC's clients take 4 MiB
)

// rpcError is the error with which a gRPC server answers a call.
type rpcError struct {
	method  string
	code    int // of gRPC
	message string
}

func (e *rpcError) Error() string {
	return fmt.Sprintf("%s: %s (gRPC code %d)", e.method, e.message, e.code)
}

// ask asks for one pod, or for all pods where the kubelet cannot name one alone (before
// 1.34, without a feature gate).
func ask(ctx context.Context, socket string, pod *types.Pod) (*podResources, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	c := newClient(socket)
	defer c.CloseIdleConnections()
	answer, err := call(ctx, c, "Get", getRequest(pod))
	if needsList(err) {
		answer, err = call(ctx, c, "List", nil)
	}
	if err != nil {
		return nil, err
	}
	pods, err := decodePods(answer)
	if err != nil {
		return nil, fmt.Errorf("its answer: %w", err)
	}
	return findPod(pods, pod)
}

// Codes of gRPC.
const (
	codeUnknown       = 2 // of any error of the kubelet's own
	codeUnimplemented = 12
)

// needsList reports whether asking for all pods may help: the method Get is missing, is
// turned off, or does not know the pod. Only their text distinguishes the last two.
func needsList(err error) bool {
	var refused *rpcError
	return errors.As(err, &refused) && (refused.code == codeUnknown || refused.code == codeUnimplemented)
}

// findPod finds a pod by its name: the kubelet gives no UID.
func findPod(pods []podResources, pod *types.Pod) (*podResources, error) {
	var found *podResources
	for i := range pods {
		if pods[i].namespace != pod.Namespace || pods[i].name != pod.Name {
			continue
		}
		if found != nil {
			return nil, ErrTwoPods
		}
		found = &pods[i]
	}
	if found == nil {
		return nil, ErrUnknownPod
	}
	return found, nil
}

// newClient makes a client of one server on a unix socket, which speaks HTTP/2 from the
// first byte, as gRPC does.
func newClient(socket string) *http.Client {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	var dialer net.Dialer
	return &http.Client{
		Transport: &http.Transport{
			Protocols:          &protocols,
			DisableCompression: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, "unix", socket)
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// call makes one call of gRPC with one message each way. The error is an *rpcError if the
// server answered with one.
func call(ctx context.Context, client *http.Client, method string, message []byte) ([]byte, error) {
	frame := make([]byte, frameHeader, frameHeader+len(message))
	binary.BigEndian.PutUint32(frame[1:], uint32(len(message))) //nolint:gosec // a pod's name is short
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://kubelet"+service+method, bytes.NewReader(append(frame, message...)))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/grpc")
	request.Header.Set("Te", "trailers")
	response, err := client.Do(request)
	if err != nil {
		return nil, withoutURL(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read its answer: %w", err)
	case len(body) > maxAnswer:
		return nil, fmt.Errorf("its answer is longer than %d bytes", maxAnswer)
	case response.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("it is no gRPC server: %s", response.Status)
	}
	if err := statusOf(response, method); err != nil {
		return nil, err
	}
	return unframe(body)
}

// statusOf reads how a call ended: after the message, or in the header where there is none.
func statusOf(response *http.Response, method string) error {
	ended := response.Trailer
	if ended.Get(statusHeader) == "" {
		ended = response.Header
	}
	code, err := strconv.Atoi(ended.Get(statusHeader))
	if err != nil {
		return errors.New("its answer has no status of gRPC")
	}
	if code == 0 {
		return nil
	}
	message := ended.Get(messageHeader)
	if plain, err := url.PathUnescape(message); err == nil {
		message = plain
	}
	return &rpcError{method, code, message}
}

// unframe gives the one message of a body.
func unframe(body []byte) ([]byte, error) {
	if len(body) < frameHeader || body[0] != 0 || uint64(binary.BigEndian.Uint32(body[1:])) != uint64(len(body)-frameHeader) {
		return nil, errors.New("its answer is not one message, as it is")
	}
	return body[frameHeader:], nil
}

// withoutURL gives the reason of an error of http.Client: the URL in it is made up.
func withoutURL(err error) error {
	var of *url.Error
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}
