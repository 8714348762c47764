// Package pictures measures the pictures of paths in a browser.
package pictures

import (
	"encoding/json"
	"fmt"
	"html"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// The folders with snapshots of paths.
const (
	docs     = "../../../docs/paths"
	testdata = "../../../internal/inspect/path/testdata"
)

// measure finds, in a picture, texts that are not inside of the narrowest box around their beginning,
// texts that cross another one, and what is outside of the picture. A box is a rect but for the paper.
const measure = `
const found=[];
for(const svg of document.querySelectorAll('svg')){
 const name=svg.parentNode.id, whole={x:0,y:0,width:svg.viewBox.baseVal.width,height:svg.viewBox.baseVal.height};
 const boxes=[...svg.querySelectorAll('rect:not(.paper)')].map(r=>r.getBBox());
 const texts=[...svg.querySelectorAll('text')].map(t=>({t:t.textContent,b:t.getBBox()}));
 const inside=(a,b)=>a.x>=b.x-.5&&a.y>=b.y-.5&&a.x+a.width<=b.x+b.width+.5&&a.y+a.height<=b.y+b.height+.5;
 const holds=(a,x,y)=>x>=a.x&&x<=a.x+a.width&&y>=a.y&&y<=a.y+a.height;
 texts.forEach((a,i)=>{
  if(a.b.width<2)found.push(name+': has no width, as without any font: '+a.t);
  if(!inside(a.b,whole))found.push(name+': outside of the picture: '+a.t);
  const around=boxes.filter(b=>holds(b,a.b.x+1,a.b.y+a.b.height/2)).sort((p,q)=>p.width*p.height-q.width*q.height)[0];
  if(around&&!inside(a.b,around))found.push(name+': leaves its box: '+a.t);
  texts.slice(i+1).forEach(c=>{
   const w=Math.min(a.b.x+a.b.width,c.b.x+c.b.width)-Math.max(a.b.x,c.b.x);
   const h=Math.min(a.b.y+a.b.height,c.b.y+c.b.height)-Math.max(a.b.y,c.b.y);
   if(w>.5&&h>3)found.push(name+': '+a.t+' crosses '+c.t);
  });
 });
}
document.body.textContent='found'+JSON.stringify({pictures:document.querySelectorAll('svg').length,found})+'end';
`

// In no picture, wide or narrow, does a text leave its box or cross another one.
func TestE2EPictures(t *testing.T) {
	all := pictures(t)
	got := browse(t, page(all))
	check.Equal(t, "pictures", got.Pictures, len(all))
	check.Equal(t, "texts", got.Found, []string{})
}

// The measure finds what it is for: a text that is too long, two at one place, one outside.
func TestE2EPicturesMeasure(t *testing.T) {
	svg := func(inner string) string {
		return `<svg xmlns="http://www.w3.org/2000/svg" width="200" height="100" viewBox="0 0 200 100">` + inner + `</svg>`
	}
	got := browse(t, page(map[string]string{
		"long":    svg(`<rect x="10" y="10" width="50" height="30"/><text x="15" y="30">too long for its box</text>`),
		"crossed": svg(`<text x="10" y="30">one text</text><text x="20" y="32">another</text>`),
		"outside": svg(`<text x="180" y="30">beyond the edge</text>`),
	}))
	check.Equal(t, "found", got.Found, []string{
		"crossed: one text crosses another", "long: leaves its box: too long for its box", "outside: outside of the picture: beyond the edge",
	})
}

type measured struct {
	Pictures int      `json:"pictures"`
	Found    []string `json:"found"`
}

func page(pictures map[string]string) string {
	var out strings.Builder
	out.WriteString("<!DOCTYPE html><meta charset=utf-8><body>")
	for _, name := range sorted(pictures) {
		fmt.Fprintf(&out, "<div id=%q>%s</div>\n", name, pictures[name])
	}
	return out.String() + "<script>" + measure + "</script></body>"
}

// browse opens a page, and gives what its script says.
func browse(t *testing.T, text string) (m measured) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pictures.html")
	check.Must(t, os.WriteFile(file, []byte(text), 0o600))
	cmd := exec.CommandContext(t.Context(), "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir="+t.TempDir(), "--dump-dom", "file://"+file)
	out, err := cmd.Output()
	check.Must(t, err)
	result := regexp.MustCompile(`(?s)found(\{.*\})end`).FindStringSubmatch(string(out))
	if result == nil {
		t.Fatalf("the browser says nothing: %s", out)
	}
	check.Must(t, json.Unmarshal([]byte(html.UnescapeString(result[1])), &m))
	return m
}

// pictures draws every path that is saved, wide and narrow.
func pictures(t *testing.T) map[string]string {
	t.Helper()
	drawn := map[string]string{}
	paint := func(name string, d *path.Document) {
		drawn[name+" wide"] = strings.ReplaceAll(d.SVG(0), `id="title"`, "")
		drawn[name+" narrow"] = strings.ReplaceAll(d.SVG(360), `id="title"`, "")
	}
	draw := func(name, folder string, query path.Query) { paint(name, document(t, folder, query)) }
	questions, err := filepath.Glob(filepath.Join(docs, "*", "question*.json"))
	check.Must(t, err)
	for _, file := range questions {
		var query path.Query
		data, err := os.ReadFile(file)
		check.Must(t, err)
		check.Must(t, json.Unmarshal(data, &query))
		folder := filepath.Dir(file)
		draw(filepath.Base(folder)+" "+filepath.Base(file), folder, query)
	}
	probes, err := filepath.Glob(filepath.Join(docs, "*", "probed*.json"))
	check.Must(t, err)
	for _, file := range probes {
		var d path.Document
		data, err := os.ReadFile(file)
		check.Must(t, err)
		check.Must(t, json.Unmarshal(data, &d))
		paint(filepath.Base(file), &d)
	}
	files, err := filepath.Glob(filepath.Join(testdata, "*", "*.json"))
	check.Must(t, err)
	for _, file := range files {
		folder := filepath.Dir(file)
		draw(filepath.Base(folder), folder, path.Query{From: "/run/netns/p1", To: "/run/netns/p2"})
	}
	return drawn
}

func document(t *testing.T, folder string, query path.Query) *path.Document {
	t.Helper()
	var snapshots []*inspect.Snapshot
	files, err := filepath.Glob(filepath.Join(folder, "n*.json"))
	check.Must(t, err)
	for _, file := range files {
		data, err := os.ReadFile(file)
		check.Must(t, err)
		snapshot, err := inspect.Parse(data)
		check.Must(t, err)
		snapshots = append(snapshots, snapshot)
	}
	d, _, err := path.NewWorld(snapshots...).Trace(query)
	check.Must(t, err)
	return d
}

func sorted(pictures map[string]string) []string { return slices.Sorted(maps.Keys(pictures)) }
