package path_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/test/check"
)

const docs = "../../../docs/paths"

// Each picture of the docs is what its snapshots give. `make paths` draws them.
func TestPicturesOfDocs(t *testing.T) {
	questions, err := filepath.Glob(filepath.Join(docs, "*", "question*.json"))
	check.Must(t, err)
	if len(questions) == 0 {
		t.Fatal("there are no pictures")
	}
	for _, question := range questions {
		suffix := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(question), "question"), ".json")
		picture := filepath.Dir(question) + suffix + ".svg"
		t.Run(filepath.Base(picture), func(t *testing.T) {
			check.Golden(t, picture, []byte(documented(t, question).SVG(0)))
		})
	}
}

// A probe's picture of the docs is what became of packets that were sent. `make paths` draws them.
func TestPicturesOfProbes(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(docs, "*", "probed*.json"))
	check.Must(t, err)
	if len(files) == 0 {
		t.Fatal("there are no pictures")
	}
	for _, file := range files {
		var document path.Document
		data, err := os.ReadFile(file)
		check.Must(t, err)
		check.Must(t, json.Unmarshal(data, &document))
		numbered, err := document.Numbered()
		check.Must(t, err)
		check.Golden(t, filepath.Dir(file)+strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "probed"), ".json")+".svg", []byte(numbered.SVG(0)))
	}
}

// documented traces the path that a file of the docs asks for.
func documented(t *testing.T, question string) *path.Document {
	t.Helper()
	var query path.Query
	data, err := os.ReadFile(question)
	check.Must(t, err)
	check.Must(t, json.Unmarshal(data, &query))
	snapshots := snapshotsOf(t, filepath.Join(filepath.Dir(question), "node*.json"))
	document, asked, err := path.NewWorld(snapshots...).Trace(query)
	check.Must(t, err)
	check.Equal(t, "questions that the snapshots do not answer", len(asked), 0)
	numbered, err := document.Numbered()
	check.Must(t, err)
	return numbered
}

// The text and the pictures of a path, as they are.
func TestFormats(t *testing.T) {
	for name, file := range map[string]string{"overlay": "overlay", "overlay-without-the-entry-of-a-VTEP": "lost", "macvlan-siblings": "siblings", "strict-rp_filter": "filtered", "an-address-outside": "leaves", "overlay-on-a-wire-that-is-too-narrow": "narrow"} {
		query := query
		if file == "leaves" {
			query.To = "198.51.100.7"
		}
		document, _, err := path.NewWorld(kept(t, name)...).Trace(query)
		check.Must(t, err)
		var text strings.Builder
		check.Must(t, document.WriteText(&text))
		check.Golden(t, filepath.Join("testdata", file+".txt"), []byte(text.String()))
		check.Golden(t, filepath.Join("testdata", file+".mmd"), []byte(document.Mermaid()))
		check.Golden(t, filepath.Join("testdata", file+".svg"), []byte(document.SVG(0)))
		check.Golden(t, filepath.Join("testdata", file+"-narrow.svg"), []byte(document.SVG(360)))
	}
}

// Names that a plugin makes up, and MACs, are numbers in the pictures of the docs.
func TestNumbered(t *testing.T) {
	first, _, err := path.NewWorld(kept(t, "overlay")...).Trace(query)
	check.Must(t, err)
	snapshots := kept(t, "overlay")
	for _, ns := range snapshots[0].Namespaces {
		if link := ns.LinkNamed("veth1"); link != nil {
			link.Name = "veth9af4ecbf"
		}
	}
	other, _, err := path.NewWorld(snapshots...).Trace(query)
	check.Must(t, err)
	one, err := first.Numbered()
	check.Must(t, err)
	two, err := other.Numbered()
	check.Must(t, err)
	check.Equal(t, "of another run", two, one)
	check.Equal(t, "name", one.There.Hops[1].Name, "veth-1")
}

// drawn draws a document in each format, and checks that the pictures are XML.
func drawn(t *testing.T, d *path.Document) {
	t.Helper()
	check.Must(t, d.WriteText(io.Discard))
	d.Mermaid()
	d.HTML()
	if _, err := d.Numbered(); err != nil {
		t.Error(err)
	}
	for _, width := range []int{0, 360} {
		decoder := xml.NewDecoder(strings.NewReader(d.SVG(width)))
		for {
			if _, err := decoder.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Whatever is in a document, its pictures are XML, and nothing of it is markup.
func FuzzDrawn(f *testing.F) {
	for _, name := range []string{"overlay", "overlay-without-the-entry-of-a-VTEP"} {
		document, _, err := path.NewWorld(kept(f, name)...).Trace(query)
		check.Must(f, err)
		data, err := json.Marshal(document)
		check.Must(f, err)
		f.Add(data)
	}
	f.Add([]byte(`{"there": {"hops": [{"name": "\u0000<&\"]]>", "place": "pod", "mtu": -1, "notes": ["x", "x"]}, {"state": "changed"}], "outcome": "odd"}, "back": {}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var document path.Document
		if json.Unmarshal(data, &document) != nil {
			t.Skip()
		}
		drawn(t, &document)
	})
}
