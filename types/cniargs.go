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

// PodFromArgs gives the pod that a Kubernetes runtime names in CNI_ARGS. Without
// both a namespace and a name no pod is known.
func PodFromArgs(args [][2]string) Pod {
	values := map[string]string{}
	for _, arg := range args {
		values[arg[0]] = arg[1]
	}
	pod := Pod{Namespace: values["K8S_POD_NAMESPACE"], Name: values["K8S_POD_NAME"], UID: values["K8S_POD_UID"]}
	if pod.Namespace == "" || pod.Name == "" {
		return Pod{}
	}
	return pod
}
