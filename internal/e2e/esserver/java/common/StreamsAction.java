package escrow.root;

import org.elasticsearch.action.ActionListener;
import org.elasticsearch.action.ActionType;
import org.elasticsearch.action.datastreams.ModifyDataStreamsAction;
import org.elasticsearch.action.support.ActionFilters;
import org.elasticsearch.action.support.TransportAction;
import org.elasticsearch.action.support.master.AcknowledgedResponse;
import org.elasticsearch.cluster.metadata.MetadataCreateDataStreamService;
import org.elasticsearch.cluster.metadata.MetadataCreateIndexService;
import org.elasticsearch.cluster.metadata.MetadataDataStreamsService;
import org.elasticsearch.cluster.metadata.MetadataMigrateToDataStreamService;
import org.elasticsearch.cluster.service.ClusterService;
import org.elasticsearch.common.util.concurrent.EsExecutors;
import org.elasticsearch.indices.IndicesService;
import org.elasticsearch.injection.guice.Inject;
import org.elasticsearch.tasks.Task;
import org.elasticsearch.threadpool.ThreadPool;
import org.elasticsearch.transport.TransportService;

/** Is never executed: the server hands its services to actions only, and makes all of them when it starts. */
public final class StreamsAction extends TransportAction<ModifyDataStreamsAction.Request, AcknowledgedResponse> {
  static final ActionType<AcknowledgedResponse> TYPE = new ActionType<>("cluster:admin/escrow/streams");

  static volatile ClusterService cluster;
  static volatile MetadataDataStreamsService streams;
  static volatile MetadataCreateDataStreamService create;
  static volatile MetadataMigrateToDataStreamService migrate;

  @Inject
  public StreamsAction(
      TransportService transport,
      ActionFilters filters,
      ThreadPool threads,
      ClusterService cluster,
      IndicesService indices,
      MetadataCreateIndexService createIndex,
      MetadataCreateDataStreamService create,
      MetadataDataStreamsService streams) {
    super(TYPE.name(), filters, transport.getTaskManager(), EsExecutors.DIRECT_EXECUTOR_SERVICE);
    StreamsAction.cluster = cluster;
    StreamsAction.streams = streams;
    StreamsAction.create = create;
    StreamsAction.migrate = new MetadataMigrateToDataStreamService(threads, cluster, indices, createIndex);
  }

  @Override
  protected void doExecute(Task task, ModifyDataStreamsAction.Request request, ActionListener<AcknowledgedResponse> listener) {
    listener.onFailure(new UnsupportedOperationException());
  }
}
