package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/vault/api"

	"github.com/chandler-broker/chandler/credhub"
)

// stored is the latest version at a path. If only that version was deleted, value is nil
// and version is not 0.
type stored struct {
	value   json.RawMessage
	version int
}

// read returns the latest version.
func (s *Store) read(ctx context.Context, path credhub.Path) (stored, error) {
	body, err := s.call(ctx, func(c *api.Logical) (*api.Response, error) {
		return c.ReadRawWithContext(ctx, s.address("data", path))
	})
	if err != nil && !isAbsent(err) {
		return stored{}, err
	}
	var answer struct {
		Data struct {
			Data     json.RawMessage
			Metadata struct{ Version int }
		}
	}
	if len(body) > 0 && json.Unmarshal(body, &answer) != nil {
		return stored{}, errForeign // the decoder's error may quote the value
	}
	found := stored{value: answer.Data.Data, version: answer.Data.Metadata.Version}
	if isAbsent(err) {
		found.value = nil
	} else if credhub.CheckValue(found.value) != nil {
		return stored{}, fmt.Errorf("%w: it contains no object", errForeign)
	}
	return found, nil
}

// write stores value as the next version. If replaces is not nil, it does so only if that
// is the number of the latest version, 0 without one.
func (s *Store) write(ctx context.Context, path credhub.Path, value json.RawMessage, replaces *int) error {
	options := map[string]int{}
	if replaces != nil {
		options["cas"] = *replaces
	}
	request, err := json.Marshal(map[string]any{"data": value, "options": options})
	if err != nil {
		return errors.New("the value cannot be encoded") // the encoder's error may quote it
	}
	answer, err := s.post(ctx, s.address("data", path), request)
	if err != nil {
		return err
	}
	if version, ok := answer["version"].(json.Number); !ok || version == "0" {
		// an engine of version 1 ignores the options
		return fmt.Errorf("%w: is the engine at %s/ a KV engine of version 2?", errForeign, s.config.Mount)
	}
	return nil
}

// maxAnswer is far above what a binding's credentials need.
const maxAnswer = 16 << 20

// call makes a request and returns the answer's body, with an error if Vault refused or
// did not answer. If Vault refuses the token, call replaces it first.
//
// The answer is raw, because Vault's client confuses the 404 for an engine that is not
// mounted with the 404 for an absent secret.
func (s *Store) call(ctx context.Context, request func(*api.Logical) (*api.Response, error)) (body []byte, err error) {
	err = s.session.do(ctx, func() (err error) {
		body, err = s.ask(ctx, request)
		return err
	})
	return body, err
}

// post is call for a request with a body. Its answer is not raw, because the client cuts a
// raw answer off before it can be read.
func (s *Store) post(ctx context.Context, path string, body []byte) (answer map[string]any, err error) {
	err = s.session.do(ctx, func() error {
		secret, err := s.clients.session.Logical().WriteBytesWithContext(ctx, path, body)
		if err == nil && secret != nil {
			answer = secret.Data
		}
		return s.plain(ctx, err)
	})
	return answer, err
}

// ask makes a request with the token as it is.
func (s *Store) ask(ctx context.Context, request func(*api.Logical) (*api.Response, error)) ([]byte, error) {
	response, err := request(s.clients.session.Logical())
	if response == nil {
		return nil, s.plain(ctx, err)
	}
	defer response.Body.Close()
	body, readErr := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err == nil {
		err = readErr
	}
	return body, s.plain(ctx, err)
}

// plain turns an error of Vault's client into one line for an operator.
func (s *Store) plain(ctx context.Context, err error) error {
	return plain(ctx, s.clients.session.Address(), err)
}
