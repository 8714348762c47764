package kube

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

const auditLog = "audit.log"

// AuditEvent is one request as the API server's audit log tells it, in the log's own form. The
// log knows a request before it is answered; Code is 0 until then, which may be a little after
// the client has the answer.
type AuditEvent struct {
	AuditID    string `json:"auditID"`
	Stage      string `json:"stage"`
	Verb       string `json:"verb"`
	RequestURI string `json:"requestURI"`
	UserAgent  string `json:"userAgent"`
	User       struct {
		Username string   `json:"username"`
		Groups   []string `json:"groups"`
	} `json:"user"`
	// ImpersonatedUser is the caller, if the request came through a [Proxy] with a certificate.
	ImpersonatedUser struct {
		Username string `json:"username"`
	} `json:"impersonatedUser"`
	ObjectRef struct {
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
	} `json:"objectRef"`
	ResponseStatus struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
}

// Caller is the user as whom the request was executed.
func (e AuditEvent) Caller() string {
	if e.ImpersonatedUser.Username != "" {
		return e.ImpersonatedUser.Username
	}
	return e.User.Username
}

// Audit returns the requests that the API server has received and that match, in order. It
// leaves out the server's requests to itself and the readiness probes.
func (c *Cluster) Audit(match func(AuditEvent) bool) ([]AuditEvent, error) {
	data, err := os.ReadFile(c.path(auditLog))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // before the first request
	}
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	all, err := parseAudit(data)
	if err != nil {
		return nil, err
	}
	var matching []AuditEvent
	for _, event := range all {
		if match(event) {
			matching = append(matching, event)
		}
	}
	return matching, nil
}

// parseAudit makes one event of each request: the last stage that its lines tell of. A last line
// that is still being written is left out.
func parseAudit(data []byte) ([]AuditEvent, error) {
	var events []AuditEvent
	index := map[string]int{}
	for line := range bytes.Lines(data) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break
		}
		var event AuditEvent
		if err := json.Unmarshal(line, &event); err != nil {
			return nil, fmt.Errorf("parse a line of the audit log: %w", err)
		}
		if i, known := index[event.AuditID]; known {
			events[i] = event
			continue
		}
		index[event.AuditID] = len(events)
		events = append(events, event)
	}
	return events, nil
}
