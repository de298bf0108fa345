package task

import (
	"fmt"
	"strings"
	"text/template"
)

// strings calls fn with a pointer to each string that may hold a template.
func (h *Handler) strings(fn func(field string, s *string) error) error {
	var err error
	each := func(field string, s *string) {
		if err == nil {
			err = fn(field, s)
		}
	}
	if h.Exec != nil {
		for i := range h.Exec.Command {
			each(fmt.Sprintf("exec.command[%d]", i), &h.Exec.Command[i])
		}
	}
	if g := h.HTTPGet; g != nil {
		each("httpGet.path", &g.Path)
		each("httpGet.host", &g.Host)
		for i := range g.HTTPHeaders {
			each(fmt.Sprintf("httpGet.httpHeaders[%d].value", i), &g.HTTPHeaders[i].Value)
		}
	}
	if p := h.HTTPPost; p != nil {
		each("httpPost.path", &p.Path)
		each("httpPost.host", &p.Host)
		each("httpPost.body", &p.Body)
		for i := range p.HTTPHeaders {
			each(fmt.Sprintf("httpPost.httpHeaders[%d].value", i), &p.HTTPHeaders[i].Value)
		}
		for i := range p.Form {
			for j := range p.Form[i].Values {
				each(fmt.Sprintf("httpPost.form[%d].values[%d]", i, j), &p.Form[i].Values[j])
			}
		}
	}
	if h.TCPSocket != nil {
		each("tcpSocket.host", &h.TCPSocket.Host)
	}
	return err
}

// checkTemplates says which template cannot be parsed, without quoting it: there may be a token in it.
func (h *Handler) checkTemplates() error {
	return h.strings(func(field string, s *string) error {
		if _, err := template.New("").Parse(*s); err != nil {
			return fmt.Errorf("%s: not a template", field)
		}
		return nil
	})
}

// Fill gives a copy of the handler whose templates are replaced by what they make of data.
func (h *Handler) Fill(data any) (*Handler, error) {
	out := h.DeepCopy()
	err := out.strings(func(field string, s *string) error {
		t, err := template.New("").Option("missingkey=error").Parse(*s)
		if err != nil {
			return fmt.Errorf("%s: not a template", field)
		}
		var b strings.Builder
		if err := t.Execute(&b, data); err != nil {
			return fmt.Errorf("%s: the template asks for what there is not", field)
		}
		*s = b.String()
		return nil
	})
	return out, err
}
