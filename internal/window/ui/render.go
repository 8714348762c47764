package ui

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/style"
)

//go:embed assets
var files embed.FS

// assets serves the style and the script. The templates are none of its business.
func assets() http.Handler {
	served := http.FileServerFS(files)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, ".css") && !strings.HasSuffix(r.URL.Path, ".js") {
			http.NotFound(w, r)
			return
		}
		served.ServeHTTP(w, r)
	})
}

// templates are the pages by their names, each within the frame. Only who serves them waits for that: every other
// command starts with this package too.
var templates = sync.OnceValue(parseAll)

func parseAll() map[string]*template.Template {
	all := map[string]*template.Template{}
	for _, name := range []string{"overview", "node", "pod", "path", "problem"} {
		one := template.New("frame.html").Funcs(template.FuncMap{
			"clock": clock, "date": date, "state": stateClass, "join": strings.Join, "nothingWrong": func() string { return inspect.NothingWrong },
			"spans": spans, "odd": func(i int) bool { return i%2 == 1 },
		})
		all[name] = template.Must(one.ParseFS(files, "assets/frame.html", "assets/parts.html", "assets/"+name+".html"))
	}
	return all
}

// spans takes a text apart at its backticks: every second part is a command.
func spans(text string) []string { return strings.Split(text, "`") }

// clock gives the time of a reading that was just done.
func clock(at time.Time) string { return at.UTC().Format("15:04:05") + " UTC" }

// date gives the time of a reading of long ago.
func date(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05") + " UTC" }

// stateClass is how the state of an attachment is written.
func stateClass(state inspect.State) string {
	switch {
	case state == inspect.StateOK:
		return "ok"
	case state.IsFault():
		return "error"
	}
	return "warning"
}

// render writes a page. Control characters in it are shown: a pod names its own interfaces.
func render(w http.ResponseWriter, status int, name string, page any) {
	var text bytes.Buffer
	if err := templates()[name].Execute(&text, page); err != nil {
		http.Error(w, "The page cannot be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = style.Safe(w, false).Write(text.Bytes()) // a browser that went away wants no error
}
