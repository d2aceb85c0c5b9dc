// Package examples checks that what the README shows to be copied compiles.
package examples

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

func TestTheREADMEsSnippetsCompile(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	snippets := regexp.MustCompile("(?ms)^```go\n(.*?)^```$").FindAllSubmatch(readme, -1)
	if len(snippets) == 0 {
		t.Fatal("the README shows no Go code")
	}
	for _, snippet := range snippets {
		dir := t.TempDir()
		source := filepath.Join(dir, "main.go")
		if err := os.WriteFile(source, snippet[1], 0o600); err != nil {
			t.Fatal(err)
		}
		// The overlay puts the snippet into this module, where its imports are.
		here, err := filepath.Abs("readme/main.go")
		if err != nil {
			t.Fatal(err)
		}
		overlay := filepath.Join(dir, "overlay.json")
		b, err := json.Marshal(map[string]any{"Replace": map[string]string{here: source}})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(overlay, b, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("go", "build", "-overlay", overlay, "-o", filepath.Join(dir, "snippet"), "./readme").CombinedOutput()
		if err != nil {
			t.Errorf("%v\n%s\n%s", err, out, snippet[1])
		}
	}
}
