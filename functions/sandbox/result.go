package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// The texts are OpenWhisk's (common/scala, Messages), which clients know.
const (
	textAbnormal = "The action did not produce a valid response and exited unexpectedly."
	textMemory   = "The action exhausted its memory and was aborted."
	textInvalid  = "The action did not produce a valid JSON response"
	textTooLong  = "The action produced a response that exceeded the allowed length: %d > %d bytes."
	textTimeout  = "The action exceeded its time limits of %d milliseconds."
)

// shown is how many bytes of an invalid answer its error quotes.
const shown = 1024

// object makes {"error": text}.
func object(text string) json.RawMessage {
	var content bytes.Buffer
	encoder := json.NewEncoder(&content)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(map[string]string{"error": text}); err != nil {
		panic(err) // a map of strings always has a JSON form
	}
	return bytes.TrimSpace(content.Bytes())
}

// outcome is that of the answer: the JSON object or array at the end of standard output,
// on one line, or on several of which the first begins with the brace or bracket. All
// lines before it become log lines.
func (a *answers) outcome() Outcome {
	defer a.logAll()
	end := len(a.lines) - 1
	for end >= 0 && len(bytes.TrimSpace(a.lines[end].text)) == 0 {
		end--
	}
	if end < 0 {
		a.lines = nil
		return developerError(textInvalid + ": standard output does not end with a JSON object or array")
	}
	a.lines = a.lines[:end+1]
	last := a.lines[end]
	if last.length > a.limit {
		a.lines = a.lines[:end]
		return developerError(tooLong(last.length, a.limit, last.text))
	}
	first, text := a.lastAnswer()
	if text == nil {
		return developerError(textInvalid + ": " + quoted(last.text))
	}
	a.lines = a.lines[:first]
	return judged(text)
}

// lastAnswer returns the text of the last JSON object or array and the line it
// begins on.
func (a *answers) lastAnswer() (first int, text []byte) {
	end := len(a.lines) - 1
	if last := bytes.TrimSpace(a.lines[end].text); isAnswer(last) {
		return end, last
	}
	for first = end - 1; first >= 0; first-- {
		if text := a.lines[first].text; len(text) > 0 && (text[0] == '{' || text[0] == '[') {
			break
		}
	}
	if first < 0 {
		return 0, nil
	}
	var joined []byte
	for _, l := range a.lines[first:] {
		joined = append(append(joined, l.text...), '\n')
	}
	if joined = bytes.TrimSpace(joined); isAnswer(joined) {
		return first, joined
	}
	return 0, nil
}

func isAnswer(text []byte) bool {
	return len(text) > 0 && (text[0] == '{' || text[0] == '[') && json.Valid(text)
}

// judged distinguishes a success from an error that the code itself reports: an object
// with a member error. An array is always a success.
func judged(text []byte) Outcome {
	text = bytes.TrimSpace(bytes.ToValidUTF8(text, []byte("\uFFFD")))
	if isAnswer(text) && text[0] == '[' {
		return Outcome{Status: Success, Result: text}
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return developerError(textInvalid + ": " + quoted(text))
	}
	if _, failed := members["error"]; failed {
		return Outcome{Status: ApplicationError, Result: text}
	}
	return Outcome{Status: Success, Result: text}
}

func tooLong(length, limit int64, text []byte) string {
	return fmt.Sprintf(textTooLong, length, limit) + " The truncated response was: " + quoted(text)
}

func quoted(text []byte) string {
	return string(bytes.ToValidUTF8(text[:min(len(text), shown)], []byte("\uFFFD")))
}
