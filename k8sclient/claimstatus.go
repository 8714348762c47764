package k8sclient

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plexus-cni/plexus/types"
)

const (
	applyPatch = "application/apply-patch+yaml" // JSON is YAML
	// ConditionAttached is the type of the condition of a device that a pod has.
	ConditionAttached = "plexus-cni.io/Attached"
	reasonAttached    = "Attached"
	maxFieldManager   = 128
)

// Errors of ApplyClaimStatus that a later attempt does not mend by itself.
var (
	// ErrClaimGone is the error for a claim that is not there, or has not the devices any more.
	ErrClaimGone = errors.New("the claim is gone, or does not allocate the device any more")
	// ErrClaimRefused is the error for a status that the API server does not take from us.
	ErrClaimRefused = errors.New("the API server refuses the status of the claim's devices")
	// ErrClaimOwned is the error for a status that another program writes, as the device's driver.
	ErrClaimOwned = errors.New("another program writes the status of the claim's devices")
)

// ApplyClaimStatus makes a claim's status say this of a device, and with nil nothing that Plexus
// wrote before. It takes no field from another program.
func (c *Client) ApplyClaimStatus(ctx context.Context, part types.ClaimPart, status *types.ClaimStatus) error {
	body, err := json.Marshal(claimPatch(part, status))
	if err != nil {
		return err
	}
	_, err = c.do(ctx, &call{
		what: "apply the status of claim " + part.String(), method: http.MethodPatch,
		path:  []string{"apis", groupResources, "v1", "namespaces", part.Namespace, "resourceclaims", part.Claim, "status"},
		query: url.Values{"fieldManager": {claimManager(part)}, "force": {"false"}},
		body:  body, contentType: applyPatch, accept: metadataOnly,
	})
	return coded(classifyClaim(err))
}

// claimManager names who writes a device of a claim: an apply takes out what its manager wrote
// before and does not say again, and must leave the other devices alone.
func claimManager(p types.ClaimPart) string {
	name := strings.Join([]string{"plexus", p.Driver, p.Pool, p.Device, p.ShareID}, "/")
	if len(name) > maxFieldManager {
		name = fmt.Sprintf("plexus/%x", sha256.Sum256([]byte(name)))
	}
	return name
}

type claimDevice struct {
	Driver      string             `json:"driver"`
	Pool        string             `json:"pool"`
	Device      string             `json:"device"`
	ShareID     string             `json:"shareID,omitempty"`
	NetworkData networkData        `json:"networkData"`
	Conditions  []metav1.Condition `json:"conditions"`
}

type networkData struct {
	InterfaceName   string   `json:"interfaceName,omitempty"`
	IPs             []string `json:"ips,omitempty"`
	HardwareAddress string   `json:"hardwareAddress,omitempty"`
}

// claimPatch is the whole of what is said of a device. Of none it has no list: an empty one would
// still be a field of ours.
func claimPatch(part types.ClaimPart, status *types.ClaimStatus) map[string]any {
	patch := map[string]any{
		"apiVersion": groupResources + "/v1", "kind": "ResourceClaim",
		"metadata": map[string]string{"name": part.Claim, "namespace": part.Namespace},
	}
	if status != nil {
		patch["status"] = map[string]any{"devices": []claimDevice{claimDeviceOf(part, status)}}
	}
	return patch
}

func claimDeviceOf(p types.ClaimPart, d *types.ClaimStatus) claimDevice {
	return claimDevice{
		Driver: p.Driver, Pool: p.Pool, Device: p.Device, ShareID: p.ShareID,
		NetworkData: networkData{InterfaceName: d.Interface, IPs: d.IPs, HardwareAddress: d.MAC},
		Conditions: []metav1.Condition{{
			Type: ConditionAttached, Status: metav1.ConditionTrue, Reason: reasonAttached,
			Message: fmt.Sprintf("pod %s has it as interface %s", d.Pod, d.Interface),
			// Never now: the same record must give the same text.
			LastTransitionTime: metav1.NewTime(d.Attached.Truncate(time.Second)),
		}},
	}
}

// oneDevice is the field of a device that the claim does not allocate.
var oneDevice = regexp.MustCompile(`^status\.devices\[\d+\]$`)

// classifyClaim says which of the errors above an answer is. A right to a driver's devices that is
// missing is no 403: the API server finds it out while it validates the object.
func classifyClaim(err error) error {
	causes := causesOf(err)
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("%w: %w", ErrClaimGone, err)
	case isOwned(err):
		return fmt.Errorf("%w: %w", ErrClaimOwned, err)
	case apierrors.IsForbidden(err) || slices.ContainsFunc(causes, isForbiddenCause):
		return fmt.Errorf("%w: %w", ErrClaimRefused, err)
	case apierrors.IsInvalid(err) && slices.ContainsFunc(causes, isUnallocated):
		return fmt.Errorf("%w: %w", ErrClaimGone, err)
	case apierrors.IsInvalid(err):
		return fmt.Errorf("%w: %w", ErrClaimRefused, err)
	}
	return err
}

func isForbiddenCause(cause metav1.StatusCause) bool {
	return cause.Type == metav1.CauseTypeForbidden && strings.HasPrefix(cause.Field, "status.devices")
}

func isUnallocated(cause metav1.StatusCause) bool {
	return cause.Type == metav1.CauseTypeFieldValueInvalid && oneDevice.MatchString(cause.Field)
}

// isOwned reports whether an apply was refused because of another manager's fields.
func isOwned(err error) bool {
	return apierrors.IsConflict(err) && slices.ContainsFunc(causesOf(err), func(cause metav1.StatusCause) bool {
		return cause.Type == metav1.CauseTypeFieldManagerConflict
	})
}

func causesOf(err error) []metav1.StatusCause {
	var answer apierrors.APIStatus
	if !errors.As(err, &answer) || answer.Status().Details == nil {
		return nil
	}
	return answer.Status().Details.Causes
}
