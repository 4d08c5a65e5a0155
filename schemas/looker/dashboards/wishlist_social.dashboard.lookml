# Days are UTC days in every tile; the filters' relative dates, "28 days", are therefore reckoned in UTC as well.
- dashboard: wishlist_social
  title: "Wishlist Social — SPEC-2025-089"
  description: "How shared wishlists are made, seen and added from."
  layout: newspaper
  preferred_viewer: dashboards-next
  refresh: 1 hour

  filters:
  - name: Date
    title: Date
    type: date_filter
    default_value: 28 days
    allow_multiple_values: true
    required: false

  - name: Channel
    title: Channel
    type: field_filter
    model: wishlist_social
    explore: share_engagement_daily
    field: share_engagement_daily.share_channel
    allow_multiple_values: true
    required: false

  - name: Platform
    title: Platform
    type: field_filter
    model: wishlist_social
    explore: share_engagement_daily
    field: share_engagement_daily.platform
    allow_multiple_values: true
    required: false

  elements:
  # It does not listen to the channel: a button that is seen has none, and the funnel would begin at zero.
  - name: share_creation_funnel
    title: Share Creation Funnel
    model: wishlist_social
    explore: share_funnel_daily
    type: looker_funnel
    fields:
    - share_funnel_daily.total_buttons_viewed
    - share_funnel_daily.total_initiated
    - share_funnel_daily.total_completed
    limit: 1
    query_timezone: UTC
    orientation: automatic
    smoothedBars: false
    labelPosition: left
    percentType: prior
    percentPosition: inline
    valuePosition: right
    note_state: collapsed
    note_display: hover
    note_text: "Expected: about 8 % of the buttons seen lead to a share begun, about 92 % of those to a share made."
    listen:
      Date: share_funnel_daily.event_date
      Platform: share_funnel_daily.platform
    row: 0
    col: 0
    width: 8
    height: 8

  - name: share_engagement_over_time
    title: Share Engagement Over Time
    model: wishlist_social
    explore: share_engagement_daily
    type: looker_line
    fields:
    - share_engagement_daily.event_date
    - share_engagement_daily.total_shares_created
    - share_engagement_daily.total_shares_viewed
    - share_engagement_daily.total_items_added_from_shares
    fill_fields: [share_engagement_daily.event_date]
    sorts: [share_engagement_daily.event_date]
    limit: 5000
    query_timezone: UTC
    x_axis_scale: time
    show_null_points: false
    point_style: none
    legend_position: center
    listen:
      Date: share_engagement_daily.event_date
      Channel: share_engagement_daily.share_channel
      Platform: share_engagement_daily.platform
    row: 0
    col: 8
    width: 16
    height: 8

  - name: viral_coefficient
    title: Viral Coefficient
    model: wishlist_social
    explore: viral_share_days
    type: single_value
    fields:
    - viral_share_days.viral_coefficient_in_span
    - viral_share_days.viral_coefficient_before_span
    dynamic_fields:
    - category: table_calculation
      table_calculation: change
      label: Change
      expression: >-
        ${viral_share_days.viral_coefficient_in_span} / ${viral_share_days.viral_coefficient_before_span} - 1
      value_format_name: percent_1
      _kind_hint: measure
      _type_hint: number
    hidden_fields: [viral_share_days.viral_coefficient_before_span]
    limit: 1
    query_timezone: UTC
    single_value_title: "Target: above 0.1"
    show_single_value_title: true
    show_comparison: true
    comparison_type: change
    comparison_reverse_colors: false
    show_comparison_label: true
    comparison_label: against as many days before
    enable_conditional_formatting: true
    conditional_formatting:
    - type: greater than
      value: 0.1
      font_color: "#1e8e3e"
      bold: true
      fields: [viral_share_days.viral_coefficient_in_span]
    listen:
      Date: viral_share_days.span
    row: 8
    col: 0
    width: 8
    height: 6

  - name: share_channel_distribution
    title: Share Channel Distribution
    model: wishlist_social
    explore: share_channel_distribution
    type: looker_pie
    fields:
    - share_channel_distribution.share_channel
    - share_channel_distribution.total_shares
    sorts: [share_channel_distribution.total_shares desc]
    limit: 50
    query_timezone: UTC
    value_labels: legend
    label_type: labPer
    listen:
      Date: share_channel_distribution.event_date
    row: 8
    col: 8
    width: 8
    height: 6

  # The id keeps apart products of one name.
  - name: top_shared_products
    title: Top Shared Products
    model: wishlist_social
    explore: shared_products_daily
    type: looker_grid
    fields:
    - shared_products_daily.product_id
    - shared_products_daily.product_name
    - shared_products_daily.total_times_shared
    - shared_products_daily.total_times_added_from_share
    - shared_products_daily.overall_conversion_rate
    hidden_fields: [shared_products_daily.product_id]
    sorts:
    - shared_products_daily.total_times_shared desc
    - shared_products_daily.total_times_added_from_share desc
    - shared_products_daily.product_id
    limit: 20
    query_timezone: UTC
    show_view_names: false
    show_row_numbers: true
    listen:
      Date: shared_products_daily.event_date
    row: 14
    col: 0
    width: 12
    height: 9

  - name: geographic_distribution
    title: Geographic Distribution
    model: wishlist_social
    explore: views_per_100k_users
    type: looker_geo_choropleth
    fields:
    - views_per_100k_users.country
    - views_per_100k_users.overall_views_per_100k_users
    sorts: [views_per_100k_users.overall_views_per_100k_users desc]
    limit: 500
    query_timezone: UTC
    map: world
    show_view_names: false
    quantize_colors: false
    listen:
      Date: views_per_100k_users.event_date
    row: 14
    col: 12
    width: 12
    height: 9
