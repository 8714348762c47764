package kube

import (
	"context"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ServiceAccountToken issues a bearer token of a ServiceAccount, which is made when it is missing
// (its namespace must exist) and whose deletion revokes the token, within the 10 s for which the
// API server remembers a token that it has seen. Given a pod that runs as that
// account, the token is bound to it and so says its node, like the one that the kubelet mounts
// into a pod.
func (c *Cluster) ServiceAccountToken(ctx context.Context, namespace, name string, pod *corev1.Pod) (string, error) {
	accounts := c.client.CoreV1().ServiceAccounts(namespace)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}
	_, err := accounts.Create(ctx, account, metav1.CreateOptions{})
	if ignoreExists(err) != nil {
		return "", fmt.Errorf("make service account %s/%s: %w", namespace, name, err)
	}
	request := &authenticationv1.TokenRequest{}
	if pod != nil {
		request.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{
			Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID,
		}
	}
	answer, err := accounts.CreateToken(ctx, name, request, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("issue a token of service account %s/%s: %w", namespace, name, err)
	}
	return answer.Status.Token, nil
}
