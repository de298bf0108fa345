package escrow.root;

import java.util.List;
import java.util.function.Supplier;
import org.elasticsearch.Build;
import org.elasticsearch.client.internal.node.NodeClient;
import org.elasticsearch.cluster.ClusterState;
import org.elasticsearch.rest.BaseRestHandler;
import org.elasticsearch.rest.RestRequest;
import org.elasticsearch.rest.RestResponse;
import org.elasticsearch.rest.RestStatus;
import org.elasticsearch.xcontent.XContentBuilder;
import org.elasticsearch.xcontent.json.JsonXContent;

/** Answers GET and HEAD of "/", which a distribution does in a module that is not published by itself. */
final class RootHandler extends BaseRestHandler {
  private final Supplier<ClusterState> state;

  RootHandler(Supplier<ClusterState> state) {
    this.state = state;
  }

  @Override
  public String getName() {
    return "root";
  }

  @Override
  public List<Route> routes() {
    return List.of(new Route(RestRequest.Method.GET, "/"), new Route(RestRequest.Method.HEAD, "/"));
  }

  @Override
  protected RestChannelConsumer prepareRequest(RestRequest request, NodeClient client) {
    request.param("pretty");
    return channel -> {
      ClusterState now = state.get();
      try (XContentBuilder json = JsonXContent.contentBuilder()) {
        json.startObject();
        json.field("name", client.getLocalNodeId());
        json.field("cluster_name", now.getClusterName().value());
        json.field("cluster_uuid", now.metadata().clusterUUID());
        json.startObject("version").field("number", Build.current().version()).field("build_flavor", "default").endObject();
        json.field("tagline", "You Know, for Search");
        json.endObject();
        channel.sendResponse(new RestResponse(RestStatus.OK, json));
      }
    };
  }
}
