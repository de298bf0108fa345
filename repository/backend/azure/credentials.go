package azure

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/web"
)

// authenticate sets container and redact from what s says. address is that of the container.
func (b *Backend) authenticate(s *backend.Settings, address string) (err error) {
	o := &container.ClientOptions{ClientOptions: azcore.ClientOptions{
		Retry:     policy.RetryOptions{MaxRetries: -1}, // that is, none
		Telemetry: policy.TelemetryOptions{Disabled: true},
		Transport: &http.Client{
			Transport: observer{b.transport},
			// Credentials are for nobody else. What is not followed is an answer that becomes an error.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}}
	b.redact = strings.NewReplacer()
	key, sas := s.Value("AZURE_ACCOUNT_KEY"), strings.TrimPrefix(s.Value("AZURE_ACCOUNT_SAS"), "?")
	switch {
	case key != "":
		account := s.Value("AZURE_ACCOUNT_NAME")
		if account == "" {
			return errors.New("AZURE_ACCOUNT_KEY is set, AZURE_ACCOUNT_NAME is not")
		}
		b.redact = strings.NewReplacer(key, "[key]")
		if _, err := base64.StdEncoding.DecodeString(key); err != nil {
			return errors.New("AZURE_ACCOUNT_KEY is not in base64, so it is no key of an account")
		}
		shared, err := blob.NewSharedKeyCredential(account, key)
		if err != nil {
			return err
		}
		b.container, err = container.NewClientWithSharedKeyCredential(address, shared, o)
		return err
	case sas != "":
		values, err := url.ParseQuery(sas)
		if err != nil || values.Get("sig") == "" {
			return errors.New("AZURE_ACCOUNT_SAS is no shared access signature: it has no sig")
		}
		sig := values.Get("sig")
		b.redact = strings.NewReplacer(sas, "[signature]", sig, "[signature]", url.QueryEscape(sig), "[signature]")
		b.container, err = container.NewClientWithNoCredential(address+"?"+sas, o)
		return err
	}
	cred, err := b.identity(s)
	if err != nil {
		return fmt.Errorf("no credentials: neither AZURE_ACCOUNT_KEY nor AZURE_ACCOUNT_SAS is set; %w", err)
	}
	b.container, err = container.NewClient(address, identity{cred}, o)
	return err
}

// identity finds out who the process is, without asking anybody yet.
func (b *Backend) identity(s *backend.Settings) (azcore.TokenCredential, error) {
	o := azcore.ClientOptions{Transport: &http.Client{Transport: b.transport}, Telemetry: policy.TelemetryOptions{Disabled: true}}
	switch suffix := s.Value("AZURE_ENDPOINT_SUFFIX"); {
	case strings.HasSuffix(suffix, "chinacloudapi.cn"):
		o.Cloud = cloud.AzureChina
	case strings.HasSuffix(suffix, "usgovcloudapi.net"):
		o.Cloud = cloud.AzureGovernment
	}
	id, secret, tenant := s.Value("AZURE_CLIENT_ID"), s.Value("AZURE_CLIENT_SECRET"), s.Value("AZURE_TENANT_ID")
	if id != "" && secret != "" && tenant != "" {
		b.redact = strings.NewReplacer(secret, "[secret]")
		return azidentity.NewClientSecretCredential(tenant, id, secret, &azidentity.ClientSecretCredentialOptions{ClientOptions: o})
	}
	if v := s.Value("AZURE_FORCE_CLI_CREDENTIAL"); v != "" {
		force, err := strconv.ParseBool(v)
		if err != nil {
			return nil, fmt.Errorf("AZURE_FORCE_CLI_CREDENTIAL is %q, neither true nor false", v)
		}
		if force {
			return azidentity.NewAzureCLICredential(nil)
		}
	}
	return azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{ClientOptions: o})
}

// identity says in terms of package backend why there is no token.
type identity struct{ azcore.TokenCredential }

// GetToken implements azcore.TokenCredential.
func (i identity) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	token, err := i.TokenCredential.GetToken(ctx, o)
	if err == nil {
		return token, nil
	}
	e := &web.AnswerError{Cause: fs.ErrPermission}
	var failed *azidentity.AuthenticationFailedError
	if errors.As(err, &failed) {
		e.Cause = nil
		if failed.RawResponse != nil {
			e.Status, e.Header = failed.RawResponse.StatusCode, failed.RawResponse.Header
		}
		if e.Status >= 400 && e.Status < 500 && e.Status != http.StatusTooManyRequests {
			e.Cause = fs.ErrPermission
		}
	}
	e.Text = "no token of an identity: " + why(failed, err)
	return token, e
}

// why is what Entra ID said, or what came before it was asked. The text of an answer as a whole may have a token in it.
func why(failed *azidentity.AuthenticationFailedError, err error) string {
	if failed == nil || failed.RawResponse == nil {
		return oneLine(err.Error())
	}
	text := fmt.Sprintf("%d %s", failed.RawResponse.StatusCode, http.StatusText(failed.RawResponse.StatusCode))
	var said struct {
		Description string `json:"error_description"`
	}
	body, err := runtime.Payload(failed.RawResponse)
	if err == nil && json.Unmarshal(body, &said) == nil && said.Description != "" {
		text += ": " + oneLine(said.Description)
	}
	return text
}
