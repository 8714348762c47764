package types

import "strings"

// ParseArgs reads CNI_ARGS, "KEY=value;KEY=value", in order and as it is. A piece
// without "=" is an error; the same key twice is not, the last one counts.
func ParseArgs(s string) ([][2]string, error) {
	if s == "" {
		return nil, nil
	}
	var args [][2]string
	for piece := range strings.SplitSeq(s, ";") {
		key, value, found := strings.Cut(piece, "=")
		if !found || key == "" {
			return nil, Errorf(CodeInvalidEnv, "CNI_ARGS: %q is not KEY=value", piece)
		}
		args = append(args, [2]string{key, value})
	}
	return args, nil
}

// The keys of CNI_ARGS that name a pod.
const (
	ArgPodNamespace = "K8S_POD_NAMESPACE"
	ArgPodName      = "K8S_POD_NAME"
	ArgPodUID       = "K8S_POD_UID"
)

// PodFromArgs gives the pod that a runtime names in CNI_ARGS, whole or by half: podman gives no
// namespace. Without a namespace and a name there is none.
func PodFromArgs(args [][2]string) Pod {
	values := map[string]string{}
	for _, arg := range args {
		values[arg[0]] = arg[1]
	}
	pod := Pod{Namespace: values[ArgPodNamespace], Name: values[ArgPodName], UID: values[ArgPodUID]}
	if pod.Namespace == "" && pod.Name == "" {
		return Pod{}
	}
	return pod
}
