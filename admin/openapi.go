package admin

import (
	_ "embed"
	"encoding/json"
	"net/http"
	"sync"

	"go.yaml.in/yaml/v3"
)

//go:embed openapi.yaml
var description []byte

// descriptionJSON is the same as JSON. It is embedded, so that it can be read is known from the tests.
var descriptionJSON = sync.OnceValues(func() ([]byte, error) {
	var document map[string]any
	if err := yaml.Unmarshal(description, &document); err != nil {
		return nil, err
	}
	return json.Marshal(document)
})

func describeYAML(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(description) // who asked has gone: nobody to tell
	return nil
}

func describeJSON(w http.ResponseWriter, _ *http.Request) error {
	text, err := descriptionJSON()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text)
	return nil
}
