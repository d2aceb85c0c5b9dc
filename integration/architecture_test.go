package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// These tests hold the tree to its design. When one fails, either the code has left the design, or the design has been
// changed on purpose; then the tables below change with it.

const (
	module = "github.com/l2tpnet/l2tpnet"
	gvisor = "gvisor.dev/gvisor"

	// gvisorVersion is pinned: only pseudo-versions of gVisor's go branch build, and netstack relies on details of this
	// one. Change it together with what netstack was checked against.
	gvisorVersion = "v0.0.0-20260905035102-160fafc42237"

	// longest is the most lines that a file of ours has.
	longest = 700
)

// topLevel is all that the user meets first.
var topLevel = []string{".ci", ".gitignore", "LICENSE", "README.md", "cmd", "endpoint", "examples", "go.mod", "go.sum", "integration", "netstack", "proxy"}

// A rule says what a package imports, apart from the standard library.
type rule struct {
	ours   []string // our packages, of which "/..." takes in all below
	others []string // modules of other people
}

// whoImportsWhom has every package of ours. Test files may import more, but nothing may import a package that is for tests only.
var whoImportsWhom = map[string]rule{
	"endpoint/link":             {},
	"endpoint/bridge":           {ours: []string{"endpoint/link"}},
	"endpoint/internal/machine": {},
	"endpoint/internal/wire":    {},
	"endpoint/internal/control": {ours: []string{"endpoint/internal/wire", "endpoint/internal/machine"}},
	"endpoint/internal/ppp":     {ours: []string{"endpoint/internal/machine"}, others: []string{"golang.org/x/crypto"}},
	"endpoint/internal/udp":     {ours: []string{"endpoint/link"}, others: []string{"golang.org/x/sys", "golang.org/x/net"}},
	"endpoint/internal/order":   {},
	"endpoint/internal/pcapng":  {},
	"endpoint": {
		ours:   []string{"endpoint/link", "endpoint/internal/control", "endpoint/internal/machine", "endpoint/internal/order", "endpoint/internal/pcapng", "endpoint/internal/ppp", "endpoint/internal/udp", "endpoint/internal/wire"},
		others: []string{"golang.org/x/time"},
	},
	"endpoint/decode": {ours: []string{"endpoint/internal/order", "endpoint/internal/pcapng", "endpoint/internal/ppp", "endpoint/internal/wire"}},
	"endpoint/host":   {ours: []string{"endpoint/link"}, others: []string{"golang.org/x/sys"}},
	"endpoint/node":   {ours: []string{"endpoint", "endpoint/bridge", "endpoint/link", "netstack", "proxy"}, others: []string{"golang.org/x/net", "golang.org/x/time"}},
	"netstack":        {ours: []string{"endpoint/link"}, others: []string{gvisor, "github.com/insomniacslk/dhcp", "golang.org/x/net", "golang.org/x/time"}},
	"proxy":           {others: []string{"golang.org/x/net"}},
	"cmd/l2tpnet": {
		ours:   []string{"endpoint", "endpoint/bridge", "endpoint/decode", "endpoint/host", "endpoint/link", "endpoint/node", "netstack", "proxy"},
		others: []string{"github.com/alecthomas/kong", "golang.org/x/sys"},
	},
	"examples/...": {ours: []string{"endpoint", "endpoint/host", "endpoint/link", "endpoint/node", "netstack", "proxy"}},

	// For tests only.
	"endpoint/internal/capture": {},
	"endpoint/internal/simnet":  {},
	"integration/bench":         {ours: []string{"endpoint", "endpoint/link", "endpoint/node", "netstack", "proxy", "integration/internal/roles"}, others: []string{"golang.org/x/sys"}},
	"integration/...":           {ours: []string{"endpoint", "endpoint/link", "endpoint/node", "netstack", "proxy", "integration/..."}, others: []string{"golang.org/x/net", "golang.org/x/sys"}},
}

// apart never reach one another, not even through others.
var apart = []string{"endpoint", "proxy", "endpoint/host", "netstack"}

// pure are the protocols: values in, values out.
var pure = []string{"endpoint/internal/wire", "endpoint/internal/control", "endpoint/internal/order", "endpoint/internal/ppp"}

// impure is what pure packages do not import, and what they do instead.
var impure = map[string]string{
	"net":          "I/O is the owner's; addresses are net/netip's",
	"os":           "I/O is the owner's",
	"sync":         "one goroutine owns a machine",
	"sync/atomic":  "one goroutine owns a machine",
	"crypto/rand":  "randomness comes in as an io.Reader",
	"math/rand":    "randomness comes in as an io.Reader",
	"math/rand/v2": "randomness comes in as an io.Reader",
	"log":          "logs go out as events",
	"log/slog":     "logs go out as events",
}

// clocks are the functions of package time that read a clock or wait for one.
var clocks = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

// A sourceFile is a Go file of ours, whatever its build constraints are.
type sourceFile struct {
	pkg    string // "endpoint/link"
	name   string // "endpoint/link/frame.go"
	test   bool
	syntax *ast.File
	lines  int
}

func (f *sourceFile) imports() (paths []string) {
	for _, s := range f.syntax.Imports {
		p, err := strconv.Unquote(s.Path.Value)
		if err != nil {
			panic("BUG: the parser let through the import path " + s.Path.Value)
		}
		paths = append(paths, p)
	}
	return paths
}

var (
	sourceFileSet = token.NewFileSet()
	sourceFiles   = sync.OnceValues(func() (files []*sourceFile, err error) {
		err = filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && path != ".." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
				return filepath.SkipDir
			case d.IsDir() && path != ".." && exists(filepath.Join(path, "go.mod")):
				return filepath.SkipDir // a module of its own: what it needs is no concern of ours
			case d.IsDir() || filepath.Ext(path) != ".go":
				return nil
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			syntax, err := parser.ParseFile(sourceFileSet, path, text, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			name, err := filepath.Rel("..", path)
			if err != nil {
				return err
			}
			name = filepath.ToSlash(name)
			files = append(files, &sourceFile{
				pkg:    filepath.ToSlash(filepath.Dir(name)),
				name:   name,
				test:   strings.HasSuffix(name, "_test.go"),
				syntax: syntax,
				lines:  bytes.Count(text, []byte("\n")),
			})
			return nil
		})
		return files, err
	})
)

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func allSourceFiles(t *testing.T) []*sourceFile {
	t.Helper()
	files, err := sourceFiles()
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 20 {
		t.Fatalf("%d Go files were found: these tests must run in the directory integration of the module", len(files))
	}
	return files
}

// ruleOf is the rule of a package: its own, or that of "parent/...".
func ruleOf(pkg string) (rule, bool) {
	if r, ok := whoImportsWhom[pkg]; ok {
		return r, true
	}
	for pattern, r := range whoImportsWhom {
		if strings.HasSuffix(pattern, "/...") && matches(pattern, pkg) {
			return r, true
		}
	}
	return rule{}, false
}

func matches(pattern, pkg string) bool {
	if parent, ok := strings.CutSuffix(pattern, "/..."); ok {
		return pkg == parent || strings.HasPrefix(pkg, parent+"/")
	}
	return pkg == pattern
}

// within tells whether an import path belongs to a module.
func within(module, path string) bool {
	return path == module || strings.HasPrefix(path, module+"/")
}

// standard tells whether an import path is the standard library's: only other people's have a dot in the first element.
func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

func TestWhoImportsWhom(t *testing.T) {
	for _, f := range allSourceFiles(t) {
		if f.test {
			continue
		}
		r, ok := ruleOf(f.pkg)
		if !ok {
			t.Errorf("%s: the package %s is not in the design: put it where DESIGN.md (The house) has a place for it, or into the table whoImportsWhom", f.name, f.pkg)
			continue
		}
		for _, path := range f.imports() {
			ours, isOurs := strings.CutPrefix(path, module+"/")
			switch {
			case standard(path):
			case isOurs && slices.ContainsFunc(r.ours, func(p string) bool { return matches(p, ours) }):
			case isOurs:
				t.Errorf("%s: %s must not import %s. Of ours it may import: %s", f.name, f.pkg, ours, orNothing(r.ours))
			case !slices.ContainsFunc(r.others, func(m string) bool { return within(m, path) }):
				t.Errorf("%s: %s must not import %s. Of other people's modules it may import: %s", f.name, f.pkg, path, orNothing(r.others))
			}
		}
	}
}

func orNothing(list []string) string {
	if len(list) == 0 {
		return "nothing"
	}
	return strings.Join(list, ", ")
}

// A listed package is what go list knows of it.
type listed struct {
	ImportPath string
	Standard   bool
	Export     string // the file with its types
	Deps       []string
}

// goList asks go list about all our packages and all that they need.
var goList = sync.OnceValues(func() (map[string]*listed, error) {
	out, err := runGo("list", "-deps", "-export", "-json=ImportPath,Standard,Export,Deps", "./...")
	if err != nil {
		return nil, err
	}
	all := make(map[string]*listed)
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); err == io.EOF {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all[p.ImportPath] = &p
	}
})

func runGo(args ...string) ([]byte, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir = ".."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %v\n%s", strings.Join(args, " "), err, &stderr)
	}
	return out, nil
}

func allListed(t *testing.T) map[string]*listed {
	t.Helper()
	all, err := goList()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// What a package reaches through others counts where somebody would have to build it, or could not use it.
func TestWhoReachesWhom(t *testing.T) {
	all := allListed(t)
	reaches := func(pkg string, what string, bad func(path string) bool) {
		p, ok := all[module+"/"+pkg]
		if !ok {
			return // not built yet
		}
		found := ""
		for _, dep := range p.Deps {
			// The one that needs the most brings the others in.
			if bad(dep) && (found == "" || len(all[dep].Deps) > len(all[found].Deps)) {
				found = dep
			}
		}
		if found != "" {
			t.Errorf("%s reaches %s, by this way: %s. It must not reach %s", pkg, found, wayTo(all, p.ImportPath, found), what)
		}
	}
	reaches("endpoint/link", "anything but the standard library", func(path string) bool { return !all[path].Standard })
	reaches("proxy", "anything but the standard library and golang.org/x/net", func(path string) bool {
		return !all[path].Standard && !within("golang.org/x/net", path)
	})
	for _, pkg := range slices.Concat([]string{"endpoint", "proxy", "endpoint/host"}, pure) {
		reaches(pkg, "gVisor", func(path string) bool { return within(gvisor, path) })
	}
	for _, pkg := range apart {
		for _, other := range apart {
			reaches(pkg, other+": endpoint, netstack, proxy and host are tied together by node, cmd and the examples only", func(path string) bool {
				return path == module+"/"+other
			})
		}
	}
}

// wayTo is a chain of packages from one to another, each of which depends on the next.
func wayTo(all map[string]*listed, from, to string) string {
	way := []string{from}
	for {
		next := ""
		for _, dep := range all[way[len(way)-1]].Deps {
			// The one with the most dependencies of its own is the nearest.
			if dep != to && slices.Contains(all[dep].Deps, to) && (next == "" || len(all[dep].Deps) > len(all[next].Deps)) {
				next = dep
			}
		}
		if next == "" {
			return strings.Join(append(way, to), " > ")
		}
		way = append(way, next)
	}
}

// wire, control, order and ppp do no I/O, know no goroutines, draw no random numbers and log nothing.
func TestPurePackagesImportNothingImpure(t *testing.T) {
	for _, f := range allSourceFiles(t) {
		if f.test || !slices.Contains(pure, f.pkg) {
			continue
		}
		for _, path := range f.imports() {
			why := impure[path]
			if why == "" && strings.HasPrefix(path, "net/") && path != "net/netip" {
				why = impure["net"]
			}
			if why == "" && strings.HasPrefix(path, "os/") {
				why = impure["os"]
			}
			if why != "" {
				t.Errorf("%s: %s must not import %s: %s", f.name, f.pkg, path, why)
			}
		}
	}
}

// "Time is an argument."
func TestPurePackagesReadNoClock(t *testing.T) {
	looked := 0
	for _, f := range allSourceFiles(t) {
		if f.test || !slices.Contains(pure, f.pkg) {
			continue
		}
		looked++
		for _, use := range clockUses(f.syntax) {
			t.Errorf("%s: %s: time is an argument of the machine's methods (now time.Time), and deadlines go out by Deadline", sourceFileSet.Position(use.pos), use.what)
		}
	}
	if looked == 0 {
		t.Errorf("no files of %s were found", strings.Join(pure, ", "))
	}
}

type clockUse struct {
	pos  token.Pos
	what string
}

// clockUses finds where a file mentions a clock of package time: a call, or the function as a value.
func clockUses(f *ast.File) (uses []clockUse) {
	name := ""
	for _, s := range f.Imports {
		if s.Path.Value != `"time"` {
			continue
		}
		name = "time"
		if s.Name != nil {
			name = s.Name.Name
		}
		if name == "." {
			uses = append(uses, clockUse{s.Pos(), "time is imported into the file's own names, where this test cannot see what is used of it"})
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && slices.Contains(clocks, s.Sel.Name) {
			if x, ok := s.X.(*ast.Ident); ok && name != "" && x.Name == name {
				uses = append(uses, clockUse{s.Pos(), "time." + s.Sel.Name + " is used"})
			}
		}
		return true
	})
	return uses
}

// The finder of clocks finds them, and nothing else.
func TestClockUses(t *testing.T) {
	for _, tc := range []struct {
		source string
		want   int
	}{
		{`package p; import "time"; var _ = time.Now()`, 1},
		{`package p; import "time"; var clock = time.Now`, 1},
		{`package p; import t "time"; func f() { <-t.After(t.Second); t.NewTimer(0) }`, 2},
		{`package p; import . "time"; var _ = Now()`, 1},
		{`package p; import "time"; func f(now time.Time) bool { return now.After(now) && time.Second > 0 }`, 0},
		{`package p; import "example/time2"; var _ = time2.Now()`, 0},
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "p.go", tc.source, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := clockUses(f); len(got) != tc.want {
			t.Errorf("%s: %d uses, want %d", tc.source, len(got), tc.want)
		}
	}
}

// No type of gVisor's appears in what a public package exports: whoever uses it must not need gVisor's version of ours.
func TestNoGVisorTypeIsExported(t *testing.T) {
	all := allListed(t)
	imp := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		p, ok := all[path]
		if !ok || p.Export == "" {
			return nil, fmt.Errorf("go list has no types of %s", path)
		}
		return os.Open(p.Export)
	})
	for path, p := range all {
		pkg, isOurs := strings.CutPrefix(path, module+"/")
		public := isOurs && !strings.Contains(pkg, "internal") && !slices.ContainsFunc([]string{"cmd/...", "examples/...", "integration/..."}, func(p string) bool { return matches(p, pkg) })
		if !public || !slices.ContainsFunc(p.Deps, func(d string) bool { return within(gvisor, d) }) {
			continue
		}
		typed, err := imp.Import(path)
		if err != nil {
			t.Fatal(err)
		}
		w := exportWalk{seen: make(map[*types.Named]bool)}
		for _, name := range typed.Scope().Names() {
			if o := typed.Scope().Lookup(name); o.Exported() {
				w.object(pkg+"."+name, o)
			}
		}
		for _, found := range w.found {
			t.Errorf("%s: give callers a type of the standard library or of ours", found)
		}
	}
}

// An exportWalk looks for gVisor's types in all that an importer can write down or call.
type exportWalk struct {
	seen  map[*types.Named]bool
	found []string
}

func (w *exportWalk) object(where string, o types.Object) {
	if named, ok := o.Type().(*types.Named); ok {
		if _, ok := o.(*types.TypeName); ok && named.Obj() == o {
			w.named(where, named)
			return
		}
	}
	w.typ(where, o.Type())
}

// named looks at a type's exported fields and methods, promoted ones included.
func (w *exportWalk) named(where string, n *types.Named) {
	if w.seen[n] {
		return
	}
	w.seen[n] = true
	for i := range n.TypeParams().Len() {
		w.typ(where, n.TypeParams().At(i).Constraint())
	}
	methods := types.NewMethodSet(types.NewPointer(n))
	for i := range methods.Len() {
		if m := methods.At(i).Obj(); m.Exported() {
			w.typ(where+"."+m.Name(), m.Type())
		}
	}
	w.typ(where, n.Underlying())
}

func (w *exportWalk) typ(where string, t types.Type) {
	switch t := t.(type) {
	case *types.Alias:
		w.typ(where, types.Unalias(t))
	case *types.Named:
		pkg := t.Obj().Pkg()
		for i := range t.TypeArgs().Len() {
			w.typ(where, t.TypeArgs().At(i))
		}
		switch {
		case pkg == nil: // error
		case within(gvisor, pkg.Path()):
			w.found = append(w.found, fmt.Sprintf("%s exposes gVisor's %s.%s", where, pkg.Path(), t.Obj().Name()))
		case within(module, pkg.Path()):
			w.named(where, t) // it may be one that has no exported name
		}
	case *types.Struct:
		for i := range t.NumFields() {
			if f := t.Field(i); f.Exported() || f.Embedded() {
				w.typ(where+"."+f.Name(), f.Type())
			}
		}
	case *types.Interface:
		for i := range t.NumMethods() {
			if m := t.Method(i); m.Exported() {
				w.typ(where+"."+m.Name(), m.Type())
			}
		}
	case *types.Signature:
		for i := range t.TypeParams().Len() {
			w.typ(where, t.TypeParams().At(i).Constraint())
		}
		w.typ(where, t.Params())
		w.typ(where, t.Results())
	case *types.Tuple:
		for i := range t.Len() {
			w.typ(where, t.At(i).Type())
		}
	case *types.Union:
		for i := range t.Len() {
			w.typ(where, t.Term(i).Type())
		}
	case *types.Map:
		w.typ(where, t.Key())
		w.typ(where, t.Elem())
	case interface{ Elem() types.Type }: // pointers, slices, arrays, channels
		w.typ(where, t.Elem())
	}
}

func TestTheTopLevelIsTheUsers(t *testing.T) {
	cmd := exec.Command("git", "ls-files", "--cached", "--others", "--exclude-standard")
	cmd.Dir = ".."
	var names []string
	if out, err := cmd.Output(); err == nil && len(out) > 0 {
		for name := range strings.Lines(string(out)) {
			first, _, _ := strings.Cut(strings.TrimSpace(name), "/")
			names = append(names, first)
		}
	} else { // not a checkout
		entries, err := os.ReadDir("..")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if !slices.Contains(topLevel, name) {
			t.Errorf("%s does not belong at the top level, which is the user's: only %s do", name, strings.Join(topLevel, ", "))
		}
	}
}

func TestGVisorIsPinned(t *testing.T) {
	out, err := runGo("list", "-m", "-f", "{{.Version}}{{with .Replace}} replaced by {{.Path}} {{.Version}}{{end}}", gvisor)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(string(out)); got != gvisorVersion {
		t.Errorf("go.mod has %s at %s, want %s: go get %s@%[3]s", gvisor, got, gvisorVersion, gvisor)
	}
}

func TestFilesAreShort(t *testing.T) {
	for _, f := range allSourceFiles(t) {
		if f.lines > longest {
			t.Errorf("%s has %d lines, the limit is %d: split it by the RFC's concerns", f.name, f.lines, longest)
		}
	}
}
